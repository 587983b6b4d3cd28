#include "outliers/stats/formats.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"

namespace outliers::stats {
namespace {

/// y in units of its scale -> the nearest values of the element.
at::Tensor nearest(const at::Tensor& y, const NumberFormat& format) {
  const at::Tensor bounded = y.clamp(-format.largest, format.largest);
  switch (format.element) {
    case Element::float16:
      return bounded.to(at::kHalf).to(at::kFloat);
    case Element::bfloat16:
      return bounded.to(at::kBFloat16).to(at::kFloat);
    case Element::e4m3:
      return bounded.to(at::kFloat8_e4m3fn).to(at::kFloat);
    case Element::e5m2:
      return bounded.to(at::kFloat8_e5m2).to(at::kFloat);
    case Element::int8:
      return bounded.round();
    case Element::e2m1: {
      // 0, 0.5 .. 2 by halves, 2 .. 4 by ones, 4 and 6.
      const at::Tensor size = bounded.abs();
      const at::Tensor step = (size.ge(2).to(at::kFloat) + 1).mul_(size.ge(4).to(at::kFloat) + 1).mul_(0.5);
      return (bounded / step).round_().mul_(step);
    }
  }
  return bounded;
}

/// Values in units of `scale`, rounded, and back; 0 where the scale is.
at::Tensor scaled(const at::Tensor& x, const at::Tensor& scale, const NumberFormat& format) {
  const at::Tensor some = scale > 0;
  return nearest(x / scale.masked_fill(some.logical_not(), 1), format).mul_(scale);
}

/// 2^(floor(log2(amax)) - the exponent of the element's largest number), within those that e8m0 has.
at::Tensor power_of_two(const at::Tensor& amax, const NumberFormat& format) {
  constexpr int kMantissa = 23, kBias = 127, kMost = 254;
  constexpr int kSmallest = 1 << (kMantissa - 1);  // the bits of 2^-127
  const at::Tensor exponent = amax.contiguous().view(at::kInt).bitwise_right_shift(kMantissa);
  const at::Tensor biased = (exponent - std::ilogb(format.largest)).clamp(0, kMost);
  const at::Tensor bits = biased.bitwise_left_shift(kMantissa);
  static_assert(kBias == kMost / 2);
  return bits.masked_fill(bits == 0, kSmallest).view(at::kFloat);
}

/// x / number. Of a plain number CUDA would multiply by the inverse.
at::Tensor divided(const at::Tensor& x, double number) {
  return x / at::full({}, number, x.options());
}

at::Tensor by_blocks(const at::Tensor& x, int64_t block) {
  const int64_t more = (block - x.size(1) % block) % block;
  const at::Tensor whole = more == 0 ? x : at::constant_pad_nd(x, {0, more});
  return whole.reshape({x.size(0), -1, block});
}

}  // namespace

at::Tensor rounded(const at::Tensor& x, const NumberFormat& format) {
  if (x.numel() == 0) return x;
  if (format.scaling == Scaling::none) return nearest(x, format);
  if (format.scaling == Scaling::tensor) return scaled(x, divided(x.abs().max(), format.largest), format);
  if (format.scaling == Scaling::row)
    return scaled(x, divided(x.abs().amax(1, true), format.largest), format);
  const at::Tensor blocks = by_blocks(x, format.block), amax = blocks.abs().amax(2, true);
  at::Tensor scale;
  if (format.scaling == Scaling::block_power_of_two) {
    scale = power_of_two(amax, format);
  } else {
    constexpr double kLargest = Criteria{}.fp8_e4m3_max;
    const at::Tensor whole = divided(amax.max(), format.largest * kLargest);
    const at::Tensor wanted = divided(amax, format.largest) / whole.masked_fill(whole == 0, 1);
    scale = wanted.clamp(0, kLargest).to(at::kFloat8_e4m3fn).to(at::kFloat) * whole;
  }
  return scaled(blocks, scale, format).view({x.size(0), -1}).narrow(1, 0, x.size(1));
}

namespace {
/// How many blocks are the worst of `blocks`.
int64_t worst_of(int64_t blocks) {
  return static_cast<int64_t>(std::ceil(RoundingAccumulator::kWorstShare * static_cast<double>(blocks)));
}
int64_t blocks_of(int64_t rows, int64_t K, int64_t block) {
  return rows * ((K + block - 1) / block);
}
constexpr int64_t kSmallestBlock = 16;
}  // namespace

RoundingAccumulator::RoundingAccumulator(const NumberFormat& format, int64_t rows, int64_t K)
    : RoundingAccumulator(format, 0) {
  most_ = worst_of(blocks_of(rows, K, block()));
}

void RoundingAccumulator::add(const at::Tensor& x) {
  const at::Tensor q = rounded(x, *format_), square = (x - q).square_();
  const at::Tensor nonzero = x != 0;
  const at::Tensor errors = by_blocks(square, block()).sum(2).flatten();
  sums_.push_back({square.sum(at::kDouble).item<double>(), x.square().sum(at::kDouble).item<double>(),
                   nonzero.sum().item<int64_t>(), nonzero.logical_and(q == 0).sum().item<int64_t>(),
                   errors.numel()});
  keep_worst(std::get<0>(errors.topk(std::min(most_, errors.numel()), 0, true, false)).cpu());
}

void RoundingAccumulator::keep_worst(const at::Tensor& errors) {
  const at::Tensor all = worst_.defined() ? at::cat({worst_, errors}) : errors;
  worst_ = all.numel() <= most_ ? all : std::get<0>(all.topk(most_, 0, true, false));
}

void RoundingAccumulator::merge(const RoundingAccumulator& other) {
  sums_.insert(sums_.end(), other.sums_.begin(), other.sums_.end());
  if (other.worst_.defined()) keep_worst(other.worst_);
}

RoundingSummary RoundingAccumulator::finish() const {
  Sums all;
  for (const Sums& one : sums_) {
    all.error += one.error;
    all.square += one.square;
    all.nonzero += one.nonzero;
    all.flushed += one.flushed;
    all.blocks += one.blocks;
  }
  RoundingSummary summary;
  if (all.square > 0) summary.relative_error = std::sqrt(all.error / all.square);
  if (all.nonzero > 0) summary.flushed = static_cast<double>(all.flushed) / static_cast<double>(all.nonzero);
  if (all.error > 0) {
    const int64_t worst = std::min(worst_of(all.blocks), worst_.numel());
    const double sum = std::get<0>(worst_.topk(worst)).sum(at::kDouble).item<double>();
    summary.worst_blocks = std::min(1.0, sum / all.error);
  }
  return summary;
}

void RoundingAccumulator::save(ByteWriter& out) const {
  out.put(most_);
  out.put(sums_);
  out.put(worst_);
}

RoundingAccumulator RoundingAccumulator::load(ByteReader& in, const NumberFormat& format) {
  RoundingAccumulator loaded(format, in.get<int64_t>());
  loaded.sums_ = in.get_vector<Sums>();
  loaded.worst_ = in.get_tensor();
  return loaded;
}

int64_t RoundingAccumulator::held_bytes(int64_t tensors, int64_t rows, int64_t K) {
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  return 3 * kFloat * worst_of(blocks_of(rows, K, kSmallestBlock)) +
         2 * static_cast<int64_t>(sizeof(Sums)) * tensors;
}

int64_t RoundingAccumulator::moment_bytes(int64_t rows, int64_t K) {
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  constexpr int64_t kPadded = 32;  // rows end with whole blocks
  return 7 * kFloat * rows * (K + kPadded);
}

}  // namespace outliers::stats
