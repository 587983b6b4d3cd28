// What stands out by the definitions of papers, in words.
#pragma once

#include <vector>

#include "outliers/report/summary_text.h"
#include "outliers/results/results.h"

namespace outliers::report {

/// "channels": those that are large in most tokens, and those that LLM.int8() keeps in 16 bits. "heads": how
/// many add little, and the secondary sinks. "experts": super experts. "vocabulary": what
/// spikes at position 0. None of what was not measured.
std::vector<SummaryLine> feature_lines(const results::Results& r);

}  // namespace outliers::report
