// Attention on CUDA with its sums: the forward is PyTorch's own fast kernel, which leaves the log-sum-exp;
// the sums are a second pass (attention_sums.cu). Built with OUTLIERS_CUDA only.
#pragma once

#include <optional>

#include "outliers/ops/attention.h"

namespace outliers::ops::cuda {

/// ops::attention for CUDA tensors, without gradients; arguments already checked. Nothing where no fast
/// kernel fits the dtype, shape or pattern (soft-cap, ALiBi, float64, ...): the caller then takes the blocks
/// of ATen.
std::optional<at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const AttentionPattern& pattern, AttentionSums* sums);

}  // namespace outliers::ops::cuda
