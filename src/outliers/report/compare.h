// Several reports side by side: as a page, and as a table for a terminal.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "outliers/report/results.h"

namespace outliers::report {

/// Writes index.html, which embeds the results of each report whole, and comparison.json (schema
/// outliers-comparison/2: each report's label, model, run and summary) into `directory`. Reports of the same
/// model are told apart by their directories' names.
void write_comparison(const std::vector<Results>& reports, const std::filesystem::path& directory);
/// The content of comparison.json.
std::string comparison_json(const std::vector<Results>& reports);

/// One row a report: where the first prompt's outlier is born and removed, its size, its channels; "?" for
/// what cannot be told because values are not finite, and then a line that says so; "not measured" where the
/// report was made without. `width` as in table().
std::string comparison_text(const std::vector<Results>& reports, size_t width);

}  // namespace outliers::report
