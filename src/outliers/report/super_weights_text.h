// Super weights in words: which they are, and what is lost without them.
#pragma once

#include <string>
#include <vector>

#include "outliers/report/summary_text.h"
#include "outliers/results/super_weights.h"

namespace outliers::report {

/// "super" and "without"; none where that was not measured.
std::vector<SummaryLine> super_weight_lines(const results::Results& r);

}  // namespace outliers::report
