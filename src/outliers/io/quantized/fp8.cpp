#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/io/quantized/method.h"

namespace outliers::io::quantized {
namespace {

/// One scale for each block of `size` = [rows, columns] -> one for each element of rows [begin, end).
at::Tensor spread(const at::Tensor& scale, std::array<int64_t, 2> size, int64_t begin, int64_t end,
                  int64_t columns) {
  const at::Tensor row = at::arange(begin, end, at::kLong).floor_divide(size[0]);
  const at::Tensor column = at::arange(columns, at::kLong).floor_divide(size[1]);
  return scale.index_select(0, row).index_select(1, column);
}

}  // namespace

// FP8 with a scale for each block (DeepSeek, Qwen) or tensor: w = q * weight_scale_inv, in float32
// (transformers' Fp8Dequantize).
Weights read_fp8(const Method& m) {
  const std::array<int64_t, 2> named = m.pair(m.config(), "weight_block_size");
  Weights result;
  for (const std::string& stem : m.stems(".weight_scale_inv")) {
    const TensorInfo& q = m.part(stem, ".weight", {"F8_E4M3", "F8_E5M2"}, 2);
    const TensorInfo& scale = *m.stored().find(stem + ".weight_scale_inv");
    const bool scalar = scale.elements() == 1;
    if (!scalar) m.part(stem, ".weight_scale_inv", kFloats, 2);
    const std::array<int64_t, 2> size =
        scalar ? std::array<int64_t, 2>{std::max<int64_t>(1, q.shape[0]), std::max<int64_t>(1, q.shape[1])}
               : m.blocks(q, scale, named);
    DerivedTensor w;
    w.info = {q.name, q.shape, q.encoding + " blocks"};
    w.sources = {q.name, scale.name};
    w.rows = [=, &stored = m.stored(), &q, &scale](int64_t begin, int64_t end, bool) {
      at::Tensor scales = stored.load(scale.name, at::kFloat);
      if (scalar) scales = scales.reshape({1, 1});
      return stored.load_row_range(q.name, begin, end, at::kFloat) *
             spread(scales, size, begin, end, q.shape[1]);
    };
    result.derived.push_back(std::move(w));
  }
  result.hide(m, {".input_scale", ".activation_scale"});
  return result;
}

}  // namespace outliers::io::quantized
