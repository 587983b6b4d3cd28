// The answer in words: what a survey found, on one screen.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace outliers::report {

struct SummaryLine {
  std::string label;  ///< "born"; empty where the strip of the layers stands (life_text.h)
  std::string text;   ///< one sentence or two, not folded
};

/// The summary without its heading. From results.json's object (schema outliers-results/1); loads nothing
/// else.
std::vector<SummaryLine> summary_lines(const nlohmann::ordered_json& results);

/// The same with the strip, headed by the model and folded to lines of `width` columns, 40 at least. From
/// results.json's object (schema outliers-results/1); loads nothing else.
std::string summary_text(const nlohmann::ordered_json& results, size_t width);

}  // namespace outliers::report
