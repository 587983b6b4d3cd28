// The page: a report as one HTML file that opens from disk and asks for nothing from anywhere.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "outliers/report/results.h"

namespace outliers::report {

/// In a report's directory: interventions of its model, which its page shows.
inline constexpr const char* kInterventionsDirectory = "interventions";

/// The figures in `directory`/figures: name -> formats.
std::map<std::string, std::vector<std::string>> figures_beside(const std::filesystem::path& directory);

/// Writes `path`, under a temporary name first. The page holds a digest of the results and the arrays it
/// draws (docs/page.md says which and how exactly). Throws where an array is missing or damaged, or the file
/// cannot be written.
void write_page(const Results& results, const std::filesystem::path& path);

}  // namespace outliers::report
