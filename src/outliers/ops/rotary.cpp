#include "outliers/ops/rotary.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include "outliers/core/shape.h"
#include "outliers/ops/error.h"
#include "outliers/ops/rows.h"

namespace outliers::ops {

namespace {

template <typename T, typename Wide>
void rotate_rows(const at::Tensor& x, const RotaryTable& table, at::Tensor& out) {
  const int64_t tokens = x.size(2), d = x.size(3), half = table.cos.size(1);
  const RowOffsets offsets(x);
  const T* input = x.const_data_ptr<T>();
  const float* cosines = table.cos.const_data_ptr<float>();
  const float* sines = table.sin.const_data_ptr<float>();
  T* output = out.mutable_data_ptr<T>();
  at::parallel_for(0, offsets.rows(), std::max<int64_t>(1, 16384 / d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* __restrict from = input + offsets.at(row);
      T* __restrict to = output + row * d;
      const float* __restrict cos = cosines + row % tokens * half;
      const float* __restrict sin = sines + row % tokens * half;
      for (int64_t i = 0; i < half; ++i) {
        const Wide a = static_cast<Wide>(from[i]), b = static_cast<Wide>(from[i + half]);
        to[i] = static_cast<T>(a * static_cast<Wide>(cos[i]) - b * static_cast<Wide>(sin[i]));
        to[i + half] = static_cast<T>(b * static_cast<Wide>(cos[i]) + a * static_cast<Wide>(sin[i]));
      }
      std::copy(from + 2 * half, from + d, to + 2 * half);
    }
  });
}

}  // namespace

RotaryTable rotary_table(const at::Tensor& frequencies, int64_t tokens, double attention_factor) {
  check_shape(frequencies, "rotary_table", "frequencies", {-1});
  const at::Tensor positions = at::arange(tokens, frequencies.options());
  const at::Tensor angles = positions.unsqueeze(1) * frequencies;
  return {angles.cos().mul_(attention_factor), angles.sin().mul_(attention_factor)};
}

at::Tensor rotate(const at::Tensor& x, const RotaryTable& table) {
  check_shape(x, "rotate", "x", {-1, -1, -1, -1});
  check_shape(table.cos, "rotate", "cos", {x.size(2), -1});
  check_shape(table.sin, "rotate", "sin", table.cos.sizes());
  const int64_t half = table.cos.size(1), d = x.size(3);
  require(2 * half <= d, "rotate: {} channels are to be rotated in heads of {}", 2 * half, d);
  if (!x.is_cpu() && !x.is_meta()) {
    const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor a = x.narrow(3, 0, half).to(wide), b = x.narrow(3, half, half).to(wide);
    const at::Tensor cos = table.cos.to(wide), sin = table.sin.to(wide);
    return at::cat({(a * cos - b * sin).to(x.scalar_type()), (b * cos + a * sin).to(x.scalar_type()),
                    x.narrow(3, 2 * half, d - 2 * half)},
                   3);
  }
  const at::Tensor rows = x.stride(-1) == 1 ? x : x.contiguous();
  const RotaryTable dense{table.cos.contiguous(), table.sin.contiguous()};
  at::Tensor out = at::empty(x.sizes(), x.options());
  if (out.numel() == 0 || x.is_meta()) return out;
  if (x.scalar_type() == at::kDouble) {
    rotate_rows<double, double>(rows, dense, out);
    return out;
  }
  AT_DISPATCH_SWITCH(x.scalar_type(), "rotate", AT_DISPATCH_CASE(at::kFloat, [&] {
                       rotate_rows<scalar_t, float>(rows, dense, out);
                     }) AT_DISPATCH_CASE(at::kBFloat16, [&] {
                       rotate_rows<scalar_t, float>(rows, dense, out);
                     }) AT_DISPATCH_CASE(at::kHalf, [&] { rotate_rows<scalar_t, float>(rows, dense, out); }));
  return out;
}

}  // namespace outliers::ops
