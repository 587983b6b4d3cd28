// The answer in words: what a survey found, on one screen.
#pragma once

#include <string>
#include <vector>

#include "outliers/results/results.h"

namespace outliers::report {

struct SummaryLine {
  std::string label;  ///< "born"; empty where the strip of the layers stands (life_text.h)
  std::string text;   ///< one sentence or two, not folded
};

/// The summary without its heading. What was not measured has no line; a further prompt has one, which tells
/// of its life. `whole`: with the parts of the life cycle (lifecycle_text.h), which fill another screen.
std::vector<SummaryLine> summary_lines(const results::Results& r, bool whole = false);

/// The same with the strip, headed by the model and folded to lines of `width` columns, 40 at least.
std::string summary_text(const results::Results& r, size_t width, bool whole = false);

}  // namespace outliers::report
