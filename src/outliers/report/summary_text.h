// The answer in words: what a survey found, on one screen.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace outliers::report {

/// From results.json's object (schema outliers-results/1); loads nothing else.
std::string summary_text(const nlohmann::ordered_json& results);

}  // namespace outliers::report
