// A list of keys that grows without moving what it has: in parts of 1 MiB, which core/memory.h keeps for
// reuse.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace outliers::stats {

class KeyList {
 public:
  static constexpr int64_t kPart = int64_t{1} << 18;  ///< keys in a part, unless one row needs more

  /// Not more than `expected` keys will come: a short list takes less than a part.
  explicit KeyList(int64_t expected = kPart) : expected_(expected) {}

  /// Room for n keys more. They count once advance() is called.
  uint32_t* room(int64_t n);
  void advance(int64_t n) {
    used_ += n;
    size_ += n;
  }
  int64_t size() const { return size_; }
  /// The parts, each int32 [n] on the CPU.
  std::vector<at::Tensor> parts() const;

 private:
  int64_t expected_, used_ = 0, size_ = 0;
  std::vector<at::Tensor> full_;
  at::Tensor last_;  // used_ keys of it
};

int64_t count_keys(const std::vector<at::Tensor>& parts);

/// The key at a rank (from 0) in ascending order; the rank is below count_keys().
uint32_t key_at_rank(const std::vector<at::Tensor>& parts, int64_t rank);

/// Keys of a part as what they are.
struct KeySpan {
  const uint32_t* first;
  const uint32_t* last;
  explicit KeySpan(const at::Tensor& part);
  const uint32_t* begin() const { return first; }
  const uint32_t* end() const { return last; }
};

}  // namespace outliers::stats
