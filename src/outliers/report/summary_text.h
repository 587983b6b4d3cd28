// The answer in words: what a survey found, on one screen.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace outliers::report {

struct SummaryLine {
  std::string label;  ///< "born"; empty for the sparkline of the layers, which belongs to the line above
  std::string text;   ///< one sentence or two, not folded
};

/// The summary without its heading. From results.json's object (schema outliers-results/1); loads nothing
/// else.
std::vector<SummaryLine> summary_lines(const nlohmann::ordered_json& results);

/// The same, headed by the model and folded for a terminal. From results.json's object (schema
/// outliers-results/1); loads nothing else.
std::string summary_text(const nlohmann::ordered_json& results);

}  // namespace outliers::report
