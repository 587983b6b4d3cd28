#include "outliers/models/files.h"

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"

namespace outliers::models {

std::string read_text_file(const std::filesystem::path& path) {
  std::string text = read_regular(path);
  const auto other = foreign_content(text);
  require(!other, "{} {}", printable(path.string(), 4096), other.value_or(""));
  return text;
}

}  // namespace outliers::models
