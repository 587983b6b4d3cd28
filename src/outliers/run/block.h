// One transformer layer. It reads traits and weights, never a family's name.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

#include "outliers/models/config.h"
#include "outliers/ops/rotary.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/tap.h"

namespace outliers::run {

/// The model's kind of norm over the last dimension of x.
at::Tensor normalise(const models::Config& config, const Norm& norm, const at::Tensor& x);

/// hidden [B,T,D] -> [B,T,D]. Writes into `hidden` where nobody else holds it. `projected`, if given, is
/// called when the first product, of queries, keys and values, is there. The rotary's tables are undefined
/// for layers without one.
at::Tensor run_layer(const models::Config& config, int64_t layer, const LayerWeights& weights,
                     Experts& experts, const ops::RotaryTable& rotary, at::Tensor hidden, const Slice& slice,
                     const Tap& tap, const std::function<void()>& projected = {});

}  // namespace outliers::run
