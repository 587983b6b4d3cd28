// Reading the small text files that stand beside weights.
#pragma once

#include <filesystem>
#include <string>

namespace outliers::models {

/// The whole file; throws naming it when it cannot be read or is larger than 1 GiB.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace outliers::models
