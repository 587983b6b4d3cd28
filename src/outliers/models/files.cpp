#include "outliers/models/files.h"

#include "outliers/core/input.h"

namespace outliers::models {

std::string read_text_file(const std::filesystem::path& path) {
  return read_input(path);
}

}  // namespace outliers::models
