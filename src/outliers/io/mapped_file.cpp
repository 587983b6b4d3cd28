#include "outliers/io/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outliers/core/error.h"

namespace outliers::io {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require(fd >= 0, "cannot open {}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  void* map = MAP_FAILED;
  if (regular && status.st_size > 0)
    map = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  ::close(fd);
  require(regular, "cannot open {}: not a regular file", path.string());
  require(status.st_size > 0, "{} is empty", path.string());
  require(map != MAP_FAILED, "cannot map {}: {}", path.string(), std::strerror(error));
  data_ = static_cast<const uint8_t*>(map);
  size_ = static_cast<size_t>(status.st_size);
}

MappedFile::~MappedFile() {
  munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::prefetch(uint64_t offset, uint64_t bytes) const {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  madvise(const_cast<uint8_t*>(data_) + begin, offset + bytes - begin, MADV_WILLNEED);
}

void MappedFile::release(uint64_t offset, uint64_t bytes) const {
  // Whole pages only: a page at the edge may belong to a neighbour that is in use.
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = (offset + page - 1) / page * page, end = (offset + bytes) / page * page;
  if (end > begin) madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace outliers::io
