#include "outliers/stats/keys.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include <ATen/ATen.h>

namespace outliers::stats {

uint32_t* KeyList::room(int64_t n) {
  if (!last_.defined() || used_ + n > last_.numel()) {
    if (used_ > 0) full_.push_back(last_.narrow(0, 0, used_));
    used_ = 0;
    last_ = at::empty({std::max(n, std::min(kPart, expected_))}, at::kInt);
  }
  return reinterpret_cast<uint32_t*>(last_.data_ptr<int32_t>()) + used_;
}

std::vector<at::Tensor> KeyList::parts() const {
  std::vector<at::Tensor> parts = full_;
  if (used_ > 0) parts.push_back(last_.narrow(0, 0, used_));
  return parts;
}

KeySpan::KeySpan(const at::Tensor& part)
    : first(reinterpret_cast<const uint32_t*>(part.const_data_ptr<int32_t>())), last(first + part.numel()) {}

int64_t count_keys(const std::vector<at::Tensor>& parts) {
  int64_t n = 0;
  for (const at::Tensor& part : parts) n += part.numel();
  return n;
}

uint32_t key_at_rank(const std::vector<at::Tensor>& parts, int64_t rank) {
  assert(0 <= rank && rank < count_keys(parts));
  // Counted in 4096 steps between the smallest and the largest key first, so that few are left to be ordered.
  uint32_t low = UINT32_MAX, high = 0;
  for (const at::Tensor& part : parts) {
    for (uint32_t key : KeySpan(part)) {
      low = std::min(low, key);
      high = std::max(high, key);
    }
  }
  const int shift = std::max(0, static_cast<int>(std::bit_width(high - low)) - 12);
  std::array<int64_t, 4096> steps{};
  for (const at::Tensor& part : parts) {
    for (uint32_t key : KeySpan(part)) ++steps[(key - low) >> shift];
  }
  uint32_t step = 0;
  while (rank >= steps[step]) rank -= steps[step++];
  if (shift == 0) return low + step;
  std::vector<uint32_t> here;
  here.reserve(static_cast<size_t>(steps[step]));
  for (const at::Tensor& part : parts) {
    for (uint32_t key : KeySpan(part)) {
      if ((key - low) >> shift == step) here.push_back(key);
    }
  }
  std::nth_element(here.begin(), here.begin() + rank, here.end());
  return here[static_cast<size_t>(rank)];
}

}  // namespace outliers::stats
