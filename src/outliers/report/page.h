// The page: a report as one HTML file that opens from disk and asks for nothing from anywhere.
#pragma once

#include <filesystem>

#include "outliers/report/results.h"

namespace outliers::report {

/// Writes `path`, under a temporary name first. The page holds a digest of the results and the arrays it
/// draws (docs/page.md says which and how exactly). Throws where an array is missing or damaged, or the file
/// cannot be written.
void write_page(const Results& results, const std::filesystem::path& path);

}  // namespace outliers::report
