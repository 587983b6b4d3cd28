// The outlier's life in words: where it is born, carried and removed, and where the story ends because values
// are no longer finite.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "outliers/report/summary_text.h"

namespace outliers::report {

/// "not finite" where something is, "born", "carried" and "removed"; or "outlier" where there is none.
std::vector<SummaryLine> life_lines(const nlohmann::ordered_json& results);

/// The residual stream's largest values, a character a layer: one line, or as many as a width of `columns`
/// takes.
std::vector<std::string> life_strip(const nlohmann::ordered_json& results, size_t columns);

}  // namespace outliers::report
