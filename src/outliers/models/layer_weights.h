// The weights of one layer, ready to compute with: dequantised, in the run's dtype, on its device.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/models/model.h"
#include "outliers/models/runner.h"

namespace outliers::models {

/// What a norm multiplies by (Gemma's 1 + w) and adds: float32 (float64 in float64 runs), undefined where the
/// model has none.
struct Norm {
  at::Tensor weight, bias;
};

/// Undefined tensors are parts the model does not have.
struct LayerWeights {
  Norm attn_norm, q_norm, k_norm, attn_post_norm, mlp_norm, mlp_post_norm;
  at::Tensor qkv, qkv_bias;  ///< [(H + 2 Hk) d, D]: one product gives queries, keys and values
  at::Tensor o, o_bias;
  at::Tensor gate, gate_bias, up, up_bias, down, down_bias;
};

LayerWeights load_layer(const Model& model, int64_t layer, at::ScalarType dtype, at::Device device);
/// The projections that the layer has, by the names results.json uses; views, not copies.
std::vector<LayerWeight> projections(const LayerWeights& weights, const Config& config);

/// Dtype of norms and sums in a run of `dtype`.
inline at::ScalarType wide_type(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}
/// `name`: "layer.3.attn_norm", "final_norm".
Norm load_norm(const Model& model, const std::string& name, at::ScalarType dtype, at::Device device);

/// Tells the kernel that a layer's pages are wanted soon, or no more.
void prefetch_layer(const Model& model, int64_t layer);
void release_layer(const Model& model, int64_t layer);

}  // namespace outliers::models
