// Memory for large tensors on the CPU. A layer-major run allocates and frees the same few sizes again and
// again; with the system's allocator each time is a map, a page fault per 4 KiB and an unmap, which on a
// small machine costs as much as the statistics do. Here freed blocks are kept for the next request of about
// their size and lie on huge pages where the kernel gives them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace outliers {

/// Makes LibTorch take CPU memory from here: tensors of 1 MiB and more from kept blocks, smaller ones from
/// malloc. At most `keep_bytes` of freed memory is kept. Call once, before tensors are made. Under a
/// sanitizer it does nothing, so that every block stays watched.
void install_tensor_allocator(uint64_t keep_bytes = uint64_t{512} << 20);

/// While it lives, freed blocks are given back rather than kept where with them and the tensors in use more
/// than `bytes` would be taken. A bound on what is kept, not on tensors; 0 changes nothing.
class TensorMemoryBound {
 public:
  explicit TensorMemoryBound(uint64_t bytes);
  ~TensorMemoryBound();
  TensorMemoryBound(const TensorMemoryBound&) = delete;
  TensorMemoryBound& operator=(const TensorMemoryBound&) = delete;

 private:
  uint64_t before_;
};

/// Gives kept blocks back to the system.
void release_kept_memory();

/// Bytes that are kept for later, for tests.
uint64_t kept_memory_bytes();

/// The resident set of this process, mapped files included; 0 where the system does not tell.
uint64_t resident_bytes();

/// The largest resident set this process has had, mapped files included.
uint64_t peak_resident_bytes();

}  // namespace outliers
