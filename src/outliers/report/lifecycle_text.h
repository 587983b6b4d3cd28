// The life cycle of the first prompt's outlier in words: its episodes, who writes it, what it does to
// attention, and who takes it away.
#pragma once

#include <vector>

#include "outliers/report/summary_text.h"

namespace outliers::report {

/// "episodes", where there are several.
std::vector<SummaryLine> episode_lines(const results::Results& r);
/// "written", "spread" and "taken"; none where that was not measured, or there is no outlier.
std::vector<SummaryLine> lifecycle_lines(const results::Results& r);

/// The prompt's; nullptr where it was not measured.
const results::PromptLife* prompt_life(const results::Results& r, const results::Input& prompt);

}  // namespace outliers::report
