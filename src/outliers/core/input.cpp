#include "outliers/core/input.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"

namespace outliers {

InputFile::InputFile(const std::filesystem::path& path, const std::string& what)
    : name_(what + (path == "-" ? "standard input" : printable(path.string(), 400))), standard_(path == "-") {
  fd_ = standard_ ? STDIN_FILENO : interruptible([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC); });
  const int error = errno;
  require(fd_ >= 0, not_read(error), "cannot read {}: {}", name_, std::strerror(error));
  struct stat status {};
  const bool known = fstat(fd_, &status) == 0;
  if (known && S_ISDIR(status.st_mode)) {
    if (!standard_) ::close(fd_);
    fail(not_read(EISDIR), "cannot read {}: it is a directory; name a file", name_);
  }
  regular_ = known && S_ISREG(status.st_mode);
}

InputFile::~InputFile() {
  if (!standard_) ::close(fd_);
}

size_t InputFile::read(char* to, size_t most) {
  const ssize_t got = interruptible([&] { return ::read(fd_, to, most); });
  const int error = errno;
  require(got >= 0, not_read(error), "cannot read {}: {}", name_, std::strerror(error));
  check_interrupt();  // one that came between the look for it and the call
  return static_cast<size_t>(got);
}

std::string InputFile::read_all() {
  std::string text;
  constexpr size_t step = size_t{1} << 18;
  for (size_t got = 1; got > 0;) {
    const size_t before = text.size();
    text.resize(before + step);
    got = read(text.data() + before, step);
    text.resize(before + got);
  }
  return text;
}

uint64_t InputFile::size() const {
  struct stat status {};
  const int failed = fstat(fd_, &status), error = errno;
  require(failed == 0, not_read(error), "cannot read {}: {}", name_, std::strerror(error));
  return static_cast<uint64_t>(status.st_size);
}

size_t InputFile::read_at(uint64_t offset, char* to, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        interruptible([&] { return pread(fd_, to + done, bytes - done, static_cast<off_t>(offset + done)); });
    const int error = errno;
    require(got >= 0, not_read(error), "cannot read {}: {}", name_, std::strerror(error));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void InputFile::rewind() {
  const off_t start = regular_ ? lseek(fd_, 0, SEEK_SET) : -1;
  const int error = regular_ ? errno : ESPIPE;
  require(start == 0, not_read(error), "{} cannot be read a second time: {}", name_, std::strerror(error));
}

}  // namespace outliers
