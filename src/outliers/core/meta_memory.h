// How much memory tensors would take: those of PyTorch's meta device have shapes, strides and lifetimes, but
// no data, so code that runs on them allocates and frees as it would, at no cost.
#pragma once

#include <cstdint>

#include <c10/core/Allocator.h>

namespace outliers {

/// While it lives, counts the bytes of meta tensors, of all threads. One at a time.
class MetaMemory {
 public:
  MetaMemory();
  ~MetaMemory();
  MetaMemory(const MetaMemory&) = delete;
  MetaMemory& operator=(const MetaMemory&) = delete;

  /// Of the tensors that are alive.
  int64_t alive() const;
  /// The most that were since the last call of restart().
  int64_t peak() const;
  void restart();

 private:
  c10::Allocator* before_;
};

}  // namespace outliers
