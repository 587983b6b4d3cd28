// How far computed points may lie from a float64 reference, in one table: by dtype, each bound with the worst
// difference measured and on what.
#pragma once

#include <ATen/ATen.h>

namespace outliers::tests {

/// `whole`: largest difference over the tensor's largest absolute value. `row`: the same within each row of
/// the last dimension (a token's, or a query's), so that one massive activation hides nothing elsewhere.
struct Tolerance {
  at::ScalarType dtype;
  double whole, row;
};

inline const Tolerance& point_tolerance(at::ScalarType dtype) {
  // Worst measured over all points (but rows of attn_logits) of the models of tests/golden/models:
  static const Tolerance table[] = {
      // 7.3e-7, value of olmo_clip, and 1.4e-6, attn_probs of qwen2_window: transformers keeps norms and
      // angles
      // in float32.
      {at::kDouble, 2e-6, 4e-6},
      // 2.4e-6, down_out of qwen3_moe_step, and 3.3e-6, attn_probs of dinov2_stretched.
      {at::kFloat, 5e-6, 8e-6},
      // 0.059, logits of qwen3_moe_norms, where transformers' own bfloat16 is 0.039 off, and 0.128, a head's
      // row
      // of o_in of qwen2_moe_mixed, whose mix nearly cancels; of dense models 0.037 and 0.077, logits and
      // down_out of phi3_long.
      {at::kBFloat16, 0.07, 0.15},
      // 0.0045, down_in of stablelm_sequential, and 0.016, value of qwen2_window.
      {at::kHalf, 0.005, 0.025},
  };
  for (const Tolerance& entry : table) {
    if (entry.dtype == dtype) return entry;
  }
  TORCH_INTERNAL_ASSERT(false, "no tolerance for this dtype");
}

/// Of a real model's points against what is stored of them (run/real_test.cpp), about three times the worst
/// that was measured with torch 2.13.0 on two cores of an AMD EPYC. The goldens are transformers 5.23.0
/// on torch 2.13.0 in float64, rounded to float32 (tests/oracle/models_real.py).
struct RealTolerance {
  Tolerance points, attn_probs;  ///< all points but attn_probs, and these
};

/// Measured with AVX2 (AMD): 2.1e-6, attn_out of layer 22, and 5.5e-6, mlp_added of layer 10; 1.9e-6 and
/// 3.7e-6, layer 20. With AVX-512 (Intel): 7e-6, mlp_added of layer 10, and 8.2e-6, attn_probs of layer 10.
inline constexpr RealTolerance kSmolLMTolerance = {{at::kFloat, 2.1e-5, 2.5e-5},
                                                   {at::kFloat, 2.1e-5, 2.5e-5}};
/// Measured: 1.1e-5, act_out of layer 0, and 1.5e-5, query of layer 1; 3.4e-5 and 7.1e-5, layer 0, whose
/// scores reach 1374.
inline constexpr RealTolerance kQwenTolerance = {{at::kFloat, 3.3e-5, 4.5e-5}, {at::kFloat, 1e-4, 2.1e-4}};
/// Measured: 2.3e-6, down_in of layer 6, and 4.4e-6, attn_added of layer 8; 1.7e-6 and 3.2e-6, layer 13.
inline constexpr RealTolerance kGemmaTolerance = {{at::kFloat, 7e-6, 1.3e-5}, {at::kFloat, 5e-6, 1e-5}};

/// The two measures of Tolerance for x [..., n] against a reference of the same shape. Entries that are -inf
/// in both agree; any other that is not finite counts as an infinite difference.
struct Difference {
  double whole = 0, row = 0;
};

inline Difference difference(const at::Tensor& got, const at::Tensor& reference) {
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor a = got.to(at::kDouble), b = reference.to(at::kDouble);
  const at::Tensor both = a.eq(-infinity).logical_and(b.eq(-infinity));
  const at::Tensor error = (a - b).abs().masked_fill(both, 0.0).nan_to_num(infinity, infinity, infinity);
  const at::Tensor size = b.abs().masked_fill(both, 0.0);
  const double largest = size.max().item<double>();
  const at::Tensor row_error = error.amax(-1), row_size = size.amax(-1).clamp_min(1e-30 + 1e-12 * largest);
  return {error.max().item<double>() / std::max(largest, 1e-30), (row_error / row_size).max().item<double>()};
}

}  // namespace outliers::tests
