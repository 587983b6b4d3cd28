// The MLP of a layer: its own, or a mixture of experts.
#pragma once

#include <ATen/core/Tensor.h>

#include "outliers/models/config.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/tap.h"

namespace outliers::run {

/// Tokens of the MLP computed at a time: enough for the products to run at full speed (fewer cost 4 % at 512,
/// 9 % at 256 on Zen 4), few enough to bound the memory of gate and up.
inline constexpr int64_t kMlpTokens = 1024;

/// x [B,T,D] -> [B,T,D].
at::Tensor mlp_part(const models::Config& config, const LayerWeights& weights, const at::Tensor& x,
                    const Slice& slice, const Tap& tap);

/// x [B,T,D] -> [B,T,D]: the weighted sum of the outputs of the experts that each token passes. The tokens of
/// one expert pass it together.
at::Tensor experts_part(const models::Config& config, const LayerWeights& weights, Experts& experts,
                        const at::Tensor& x, const Slice& slice, const Tap& tap);

}  // namespace outliers::run
