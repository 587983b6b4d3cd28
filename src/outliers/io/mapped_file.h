// A file mapped into memory for reading. Weights are never copied as a whole: tensors are decoded from the
// map, and the kernel keeps or drops its pages as memory allows. Another program may change the file
// meanwhile; that is found here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <sys/stat.h>

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
  /// Throws where the content is known to be something else than weights, arrays or images: a pointer of Git
  /// LFS, a page of HTML (core/regular_file.h). For readers whose own magic bytes are not there.
  void refuse_foreign() const;
  /// Has the kernel read the range in the background / drop it from this process's memory.
  void prefetch(uint64_t offset, uint64_t bytes) const;
  void release(uint64_t offset, uint64_t bytes) const;

 private:
  friend void check_mapped_files();

  std::filesystem::path path_;
  struct stat status_ {};  // when it was mapped
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t place_ = 0;  // in the table of the signal's handler
};

/// Makes reading beyond the end of a mapped file that another program has cut short give zeros in place of
/// ending the process (SIGBUS). The file is then lost: the two checks below name it.
void install_map_guard();

/// Throws an Error when a mapped file was found cut short; one load where none was. After each decoded
/// tensor.
void check_map_guard();

/// The same, and when a file that is mapped now has another size, time of change or inode than when it was
/// mapped. One stat() a file: between layers, and before results are written. A file that was only removed is
/// still whole in its map.
void check_mapped_files();

/// What check_map_guard() would say, or ""; also after the file was unmapped.
std::string map_guard_message();

}  // namespace outliers::io
