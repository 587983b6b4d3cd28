// What stands out by the definitions of papers, in words.
#pragma once

#include <vector>

#include "outliers/report/summary_text.h"
#include "outliers/results/results.h"

namespace outliers::report {

/// "features": channels that are large in most tokens, and those that LLM.int8() keeps in 16 bits; how many
/// heads add little, and how many secondary sinks there are. "experts": super experts. "vocabulary": what
/// spikes at position 0. None of what was not measured.
std::vector<SummaryLine> feature_lines(const results::Results& r);

}  // namespace outliers::report
