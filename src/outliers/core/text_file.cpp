#include "outliers/core/text_file.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "outliers/core/error.h"

namespace outliers {

std::string read_text_file(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  const auto check = [&](bool holds) {
    if (!holds) fail("{}: cannot be read: {}", name, std::generic_category().message(errno));
  };
  // Without O_NONBLOCK a FIFO would wait for a writer.
  struct Descriptor {
    int value;
    ~Descriptor() {
      if (value >= 0) close(value);
    }
  } const file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  check(file.value >= 0);
  struct stat status {};
  check(fstat(file.value, &status) == 0);
  if (S_ISDIR(status.st_mode)) errno = EISDIR;
  check(!S_ISDIR(status.st_mode));
  require(S_ISREG(status.st_mode), "{}: cannot be read: it is no regular file", name);
  require(status.st_size <= (off_t{1} << 30), "{}: {} bytes are too many for a file of this kind", name,
          status.st_size);
  std::string text(static_cast<size_t>(status.st_size), '\0');
  for (size_t at = 0; at < text.size();) {
    const ssize_t count = read(file.value, text.data() + at, text.size() - at);
    if (count < 0 && errno == EINTR) continue;
    check(count >= 0);
    require(count > 0, "{}: cannot be read to its end: it became shorter meanwhile", name);
    at += static_cast<size_t>(count);
  }
  return text;
}

}  // namespace outliers
