// Rotary position embedding (RoFormer, arXiv 2104.09864, eq. 34) in the order of Hugging Face's checkpoints:
// channel i of a head turns with channel i + w/2, where w channels are rotated.
#pragma once

#include <ATen/core/Tensor.h>

namespace outliers::ops {

/// Cosine and sine of position times frequency, each float32 [T, w/2].
struct RotaryTable {
  at::Tensor cos, sin;
};

/// frequencies: float32 [w/2], radians per position. Both tables are multiplied by `attention_factor` (YaRN,
/// LongRoPE). Positions count from 0.
RotaryTable rotary_table(const at::Tensor& frequencies, int64_t tokens, double attention_factor = 1.0);

/// x [B,H,T,d] with any strides -> [B,H,T,d], contiguous: the first w channels of each head rotated by its
/// token's position, the others copied. Arithmetic is float32 (float64 for float64 x). The table must be on
/// x's device. No autograd on the CPU.
at::Tensor rotate(const at::Tensor& x, const RotaryTable& table);

}  // namespace outliers::ops
