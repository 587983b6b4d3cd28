// The CPU kernel of attention: whole rows of the softmax for a tile of queries, so that the sums over queries
// cost one more pass over probabilities that are in the cache, and no further matrix product.
#pragma once

#include "outliers/ops/attention.h"

namespace outliers::ops::cpu {

/// ops::attention for float32, float16 and bfloat16 on the CPU, without gradients; arguments already checked.
/// Of meta tensors it allocates what it would of others.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionPattern& pattern, AttentionSums* sums);

}  // namespace outliers::ops::cpu
