// What the fuzz targets share. A target gives a parser any bytes: the right answers are a result and an
// Error; every other exception, crash, leak or endless loop is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>

#include "outliers/core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace outliers::fuzz {

/// Bytes as a file that can be opened and mapped, without a disk.
class RegularFile {
 public:
  RegularFile(const void* data, size_t size) : fd_(memfd_create("input", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, data, size) != static_cast<ssize_t>(size))
      throw std::runtime_error("no memory for the input");
  }
  ~RegularFile() { close(fd_); }
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// A folder in memory for formats of several files; removed with the process. `fill` writes what does not
/// change.
class InputFolder {
 public:
  template <typename Fill>
  explicit InputFolder(Fill&& fill) : path_("/dev/shm/outliers-fuzz-" + std::to_string(getpid())) {
    std::filesystem::create_directories(path_);
    fill(path_);
  }
  InputFolder() : InputFolder([](const std::filesystem::path&) {}) {}
  ~InputFolder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write(const std::filesystem::path& path, const void* data, size_t size) {
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

/// For tokenizers: words, digits, line ends, several scripts and a byte that is no UTF-8.
inline constexpr const char* kVariedText = "It's 2024, na\xc3\xafve!\n\n  \xe6\x97\xa5\xe6\x9c\xac \xff x";

/// Runs `action`; an Error ends it quietly.
template <typename Action>
void attempt(Action&& action) {
  try {
    action();
  } catch (const Error&) {
  }
}

/// The input cut at the first `separator`: formats of two files.
inline std::pair<std::string_view, std::string_view> split(const uint8_t* data, size_t size,
                                                           char separator = '\0') {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t place = all.find(separator);
  if (place == std::string_view::npos) return {all, {}};
  return {all.substr(0, place), all.substr(place + 1)};
}

}  // namespace outliers::fuzz
