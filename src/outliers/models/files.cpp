#include "outliers/models/files.h"

#include <cstdint>
#include <fstream>

#include "outliers/core/error.h"

namespace outliers::models {

std::string read_text_file(const std::filesystem::path& path) {
  std::error_code code;
  const uintmax_t size = std::filesystem::file_size(path, code);
  const std::string name = printable(path.string());
  require(!code, "{}: cannot be read: {}", name, code.message());
  require(size <= (uintmax_t{1} << 30), "{}: {} bytes are too many for a file of this kind", name, size);
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(size));
  require(file.good() && static_cast<uintmax_t>(file.gcount()) == size, "{}: cannot be read to its end",
          name);
  return text;
}

}  // namespace outliers::models
