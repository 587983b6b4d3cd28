// Reading the small text files that stand beside weights.
#pragma once

#include <filesystem>
#include <string>

namespace outliers::models {

/// The whole file; throws naming it when it cannot be read, is larger than 1 GiB, or is what a server sent in
/// its place (core/regular_file.h).
std::string read_text_file(const std::filesystem::path& path);

}  // namespace outliers::models
