#include "outliers/core/regular_file.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"

namespace outliers {
namespace {

/// What it is in place of a regular file; nullptr for one.
const char* irregular(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return nullptr;
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    default:
      return "of an unknown kind";
  }
}

void require_regular(const std::string& name, mode_t mode) {
  const char* other = irregular(mode);
  require(other == nullptr, not_read(S_ISDIR(mode) ? EISDIR : EINVAL),
          "cannot open {}: it is {}, not a regular file", name, other == nullptr ? "" : other);
}

/// A path in full: its end, which is the file's name, matters most.
std::string shown(const std::filesystem::path& path) {
  return printable(path.string(), 4096);
}

bool begins(std::string_view text, std::string_view with) {
  return text.size() >= with.size() && std::equal(with.begin(), with.end(), text.begin(), [](char a, char b) {
           return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
         });
}

}  // namespace

void require_regular(const std::filesystem::path& path, bool or_directory) {
  struct stat status {};
  const std::string name = shown(path);
  // Apart: the order in which a call's arguments are computed is the compiler's.
  const bool known = stat(path.c_str(), &status) == 0;
  require(known, not_read(errno), "cannot open {}: {}", name, std::strerror(errno));
  if (!or_directory || !S_ISDIR(status.st_mode)) require_regular(name, status.st_mode);
}

RegularFile::RegularFile(const std::filesystem::path& path) : name_(shown(path)) {
  // Asked first, since opening alone can do something to a device; and again, since the name may be another's
  // by then.
  outliers::require_regular(path);
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  require(descriptor_ >= 0, not_read(errno), "cannot open {}: {}", name_, std::strerror(errno));
  const bool known = fstat(descriptor_, &status_) == 0;
  const int error = errno;
  if (!known || irregular(status_.st_mode) != nullptr) {
    ::close(descriptor_);
    require(known, not_read(error), "cannot open {}: {}", name_, std::strerror(error));
    require_regular(name_, status_.st_mode);
  }
}

RegularFile::~RegularFile() {
  ::close(descriptor_);
}

std::string RegularFile::read(uint64_t most) {
  constexpr uint64_t kStep = uint64_t{1} << 20;
  std::string text;
  while (text.size() < most) {
    const size_t before = text.size();
    text.resize(before + std::min(kStep, most - before));
    const ssize_t got = ::read(descriptor_, text.data() + before, text.size() - before);
    const int error = errno;
    text.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) break;
    if (got < 0 && error == EINTR) {
      check_interrupt();
      continue;
    }
    require(got > 0, not_read(error), "cannot read {}: {}", name_, std::strerror(error));
  }
  return text;
}

std::string read_regular(const std::filesystem::path& path, uint64_t most) {
  RegularFile file(path);
  require(file.size() <= most, "{}: {} bytes are too many for a file of this kind", shown(path), file.size());
  return file.read(most);
}

std::optional<std::string> foreign_content(std::string_view head) {
  if (head.starts_with("version https://git-lfs")) {
    return "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`, or with `outliers "
           "fetch "
           "ORG/NAME`";
  }
  if (head.starts_with("\xEF\xBB\xBF")) head.remove_prefix(3);
  head.remove_prefix(std::min(head.size(), head.find_first_not_of(" \t\r\n")));
  if (begins(head, "<!doctype html") || begins(head, "<html") || begins(head, "<head")) {
    return "is an HTML page, which a server sent in place of the file; fetch it again, signed in where it "
           "must be";
  }
  if (begins(head, "<?xml"))
    return "is an XML text, which a server sent in place of the file; fetch it again";
  if (head.starts_with("\x1f\x8b")) return "is compressed with gzip; unpack it first";
  if (head.starts_with("\x28\xb5\x2f\xfd")) return "is compressed with zstd; unpack it first";
  if (head.starts_with("\xfd"
                       "7zXZ"))
    return "is compressed with xz; unpack it first";
  if (head.starts_with("BZh")) return "is compressed with bzip2; unpack it first";
  if (head.starts_with("\x89HDF"))
    return "is an HDF5 file (Keras, TensorFlow), which is not read here; convert it";
  return std::nullopt;
}

std::string read_own(const std::filesystem::path& path) {
  std::string text = read_regular(path);
  const auto other = foreign_content(text);
  require(!other, "{} {}", shown(path), other.value_or(""));
  return text;
}

}  // namespace outliers
