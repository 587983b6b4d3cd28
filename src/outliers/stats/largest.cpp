#include "outliers/stats/largest.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "outliers/stats/error.h"

namespace outliers::stats {
namespace {

/// Values whose largest is noted: place is looked for in one such block alone.
constexpr int64_t kBlock = 4096;
constexpr int64_t kBlocksPerThread = 512;  // a thread is worth waking for 2M values

/// Abs x as an integer of the same order: its bits without the sign. `infinity`: those of what is not finite
/// begin here.
template <typename Bits>
struct Keys {
  const Bits* bits;
  Bits infinity;

  static Bits key(Bits x) { return x & static_cast<Bits>(~(Bits{1} << (8 * sizeof(Bits) - 1))); }
  Bits finite_key(Bits x) const { return key(x) < infinity ? key(x) : Bits{0}; }

  /// Of values [begin, end).
  Bits largest(int64_t begin, int64_t end) const {
    Bits most = 0;
    for (int64_t i = begin; i < end; ++i) most = std::max(most, key(bits[i]));
    if (most < infinity) return most;
    most = 0;
    for (int64_t i = begin; i < end; ++i) most = std::max(most, finite_key(bits[i]));
    return most;
  }
};

/// The place, or nothing.
template <typename Bits>
std::optional<int64_t> place_of_largest(const Keys<Bits>& keys, int64_t n) {
  std::vector<Bits> of_blocks(static_cast<size_t>((n + kBlock - 1) / kBlock));
  at::parallel_for(
      0, static_cast<int64_t>(of_blocks.size()), kBlocksPerThread, [&](int64_t first, int64_t last) {
        for (int64_t b = first; b < last; ++b) {
          of_blocks[static_cast<size_t>(b)] = keys.largest(b * kBlock, std::min(n, (b + 1) * kBlock));
        }
      });
  const auto block = std::max_element(of_blocks.begin(), of_blocks.end());
  if (block == of_blocks.end()) return std::nullopt;
  // Where the largest is 0, the first block may hold nothing that is finite.
  for (int64_t i = (block - of_blocks.begin()) * kBlock; i < n; ++i) {
    if (Keys<Bits>::key(keys.bits[i]) == *block) return i;
  }
  return std::nullopt;
}

std::optional<int64_t> place_on_host(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return place_of_largest<uint32_t>({static_cast<const uint32_t*>(x.const_data_ptr()), 0x7F800000},
                                        x.numel());
    case at::kHalf:
      return place_of_largest<uint16_t>({static_cast<const uint16_t*>(x.const_data_ptr()), 0x7C00},
                                        x.numel());
    case at::kBFloat16:
      return place_of_largest<uint16_t>({static_cast<const uint16_t*>(x.const_data_ptr()), 0x7F80},
                                        x.numel());
    case at::kDouble:
      return place_of_largest<uint64_t>(
          {static_cast<const uint64_t*>(x.const_data_ptr()), 0x7FF0000000000000}, x.numel());
    default:
      fail("largest_abs: x is {}", toString(x.scalar_type()));
  }
}

}  // namespace

std::optional<Largest> largest_abs(const at::Tensor& x) {
  const at::Tensor flat = x.contiguous().flatten();
  std::optional<int64_t> place;
  if (x.is_cpu()) {
    place = place_on_host(flat);
  } else if (flat.numel() > 0) {
    place = at::where(at::isfinite(flat), flat.abs(), -1).argmax().item<int64_t>();
    if (!std::isfinite(flat[*place].item<double>())) place.reset();
  }
  if (!place) return std::nullopt;
  return Largest{flat[*place].item<double>(), *place};
}

}  // namespace outliers::stats
