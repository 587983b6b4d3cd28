// Reading the small text files that stand beside weights.
#pragma once

#include <filesystem>
#include <string>

namespace outliers {

/// The whole file; throws with its name and the system's reason where it cannot be read, is no regular file
/// or is larger than 1 GiB.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace outliers
