// Opening files that users name. Only regular files are read: a FIFO would wait for a writer that never
// comes, and a device has no end. Every error names the file and the system's reason.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>

namespace outliers {

/// A regular file, open for reading.
class RegularFile {
 public:
  /// Never waits. Throws an Error for what is missing, forbidden, or a directory, FIFO, socket or device.
  explicit RegularFile(const std::filesystem::path& path);
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  int descriptor() const { return descriptor_; }
  /// As it was when the file was opened.
  const struct stat& status() const { return status_; }
  uint64_t size() const { return static_cast<uint64_t>(status_.st_size); }
  /// Up to `most` bytes from the current position on.
  std::string read(uint64_t most);

 private:
  std::string name_;
  int descriptor_ = -1;
  struct stat status_ {};
};

/// A whole file, as bytes. Throws for one of more than `most` bytes.
std::string read_regular(const std::filesystem::path& path, uint64_t most = uint64_t{1} << 30);

/// Throws unless `path`, which exists, is a regular file or, with `or_directory`, a directory.
void require_regular(const std::filesystem::path& path, bool or_directory = false);

/// What a file's first bytes say it is, in place of what was wanted, and what to do about it: "is a pointer
/// of Git LFS; ...", "is an HTML page; ...". Nothing for bytes that are not known.
std::optional<std::string> foreign_content(std::string_view head);

/// read_regular(), and an Error for what foreign_content() knows.
std::string read_own(const std::filesystem::path& path);

}  // namespace outliers
