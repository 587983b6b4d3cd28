// A file mapped into memory for reading. Weights are never copied as a whole: tensors are decoded from the
// map, and the kernel keeps or drops its pages as memory allows. A file that another program cuts short while
// it is mapped ends the process (SIGBUS); no reader of mapped files can prevent that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace outliers::io {

class MappedFile {
 public:
  /// Throws Error for a file that is missing, unreadable, empty or no regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  uint64_t size() const { return size_; }
  /// Has the kernel read the range in the background / drop it from this process's memory.
  void prefetch(uint64_t offset, uint64_t bytes) const;
  void release(uint64_t offset, uint64_t bytes) const;

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace outliers::io
