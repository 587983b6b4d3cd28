#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "outliers/io/quantized/method.h"

namespace outliers::io::quantized {
namespace {

/// Blocks [.., 16] of two 4-bit numbers a byte, the low half first, and a scale 2^(byte - 127) for each ->
/// [.., 32].
at::Tensor unpack_mxfp4(const at::Tensor& blocks, const at::Tensor& scales) {
  constexpr float kValues[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                 -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};
  constexpr int64_t kBytes = 16;
  constexpr int kBias = 127;
  std::vector<int64_t> shape = blocks.sizes().vec();
  shape.back() = 2 * kBytes;
  at::Tensor out = at::empty(shape, at::kFloat);
  const uint8_t *pairs = blocks.const_data_ptr<uint8_t>(), *exponents = scales.const_data_ptr<uint8_t>();
  float* values = out.mutable_data_ptr<float>();
  at::parallel_for(0, scales.numel(), 2048, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const float scale = std::ldexp(1.0F, exponents[block] - kBias);
      for (int64_t i = block * kBytes; i < (block + 1) * kBytes; ++i) {
        values[2 * i] = kValues[pairs[i] & 15] * scale;
        values[2 * i + 1] = kValues[pairs[i] >> 4] * scale;
      }
    }
  });
  return out;
}

}  // namespace

// MXFP4 (OCP Microscaling Formats 1.0) as gpt-oss keeps its experts: NAME_blocks [E, out, in / 32, 16] and
// NAME_scales [E, out, in / 32] are NAME [E, in, out] (transformers' convert_moe_packed_tensors).
Weights read_mxfp4(const Method& m) {
  Weights result;
  for (const std::string& stem : m.stems("_blocks")) {
    const TensorInfo& blocks = m.part(stem, "_blocks", {"U8"}, 4);
    const TensorInfo& scales = m.part(stem, "_scales", {"U8"}, 3);
    const std::vector<int64_t>& shape = blocks.shape;
    if (shape[3] != 16) m.wrong_shape(blocks, "its last dimension should be 16");
    m.shape(scales, {shape[0], shape[1], shape[2]});
    DerivedTensor w;
    w.info = {stem, {shape[0], shape[2] * 32, shape[1]}, "MXFP4"};
    w.sources = {blocks.name, scales.name};
    w.native = at::kBFloat16;
    w.rows = [&stored = m.stored(), &blocks, &scales](int64_t begin, int64_t end, bool) {
      return unpack_mxfp4(stored.load_row_range(blocks.name, begin, end, at::kByte),
                          stored.load_row_range(scales.name, begin, end, at::kByte))
          .flatten(2)
          .transpose(1, 2);
    };
    result.derived.push_back(std::move(w));
  }
  return result;
}

}  // namespace outliers::io::quantized
