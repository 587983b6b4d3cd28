// The weights of one layer, ready to compute with: dequantised, in the run's dtype, on its device.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/models/model.h"
#include "outliers/run/observer.h"
#include "outliers/run/tap.h"

namespace outliers::run {

/// What a norm multiplies by (Gemma's 1 + w) and adds: float32 (float64 in float64 runs), undefined where the
/// model has none.
struct Norm {
  at::Tensor weight, bias;
};

/// One MLP: a layer's own, or one expert.
struct Mlp {
  at::Tensor gate, gate_bias, up, up_bias, down, down_bias;
};

/// Undefined tensors are parts the model does not have.
struct LayerWeights {
  Norm attn_norm, q_norm, k_norm, attn_post_norm, mlp_norm, mlp_post_norm;
  at::Tensor qkv, qkv_bias;  ///< [(H + 2 Hk) d, D]: one product gives queries, keys and values
  at::Tensor o, o_bias;
  at::Tensor attn_scale, mlp_scale;  ///< [D]: LayerScale
  at::Tensor sinks;                  ///< [H]
  Mlp mlp;                           ///< in a layer of experts the shared one
  at::Tensor router, router_bias;    ///< [E, D]
  at::Tensor shared_gate;            ///< [1, D]
};

/// On the meta device nothing is read: they have their shapes.
LayerWeights load_layer(const models::Model& model, int64_t layer, at::ScalarType dtype, at::Device device);
/// The projections that the layer has, by the names results.json uses; views, not copies.
std::vector<LayerWeight> projections(const LayerWeights& weights, const models::Config& config);

std::vector<LayerWeight> projections(const Mlp& mlp, int64_t expert);

/// A layer's experts, by their numbers.
class Experts {
 public:
  virtual ~Experts() = default;
  /// Says which will be asked for soon.
  virtual void prefetch(const std::vector<int64_t>& experts) const = 0;
  virtual const Mlp& operator[](int64_t expert) = 0;
};

/// Each is read when it is first asked for and kept with this object, so that one that no token chooses is
/// never read.
class LayerExperts : public Experts {
 public:
  /// `loading` counts the time of reading; `on_load` is called once an expert.
  LayerExperts(const models::Model& model, int64_t layer, at::ScalarType dtype, at::Device device,
               Stopwatch& loading, std::function<void(int64_t, const Mlp&)> on_load = {});

  void prefetch(const std::vector<int64_t>& experts) const override;
  const Mlp& operator[](int64_t expert) override;

 private:
  Mlp load(int64_t expert) const;
  template <typename OnTensor, typename OnRow>
  void for_stored(int64_t expert, const OnTensor& on_tensor, const OnRow& on_row) const;

  const models::Model& model_;
  int64_t layer_;
  at::ScalarType dtype_;
  at::Device device_;
  Stopwatch& loading_;
  std::function<void(int64_t, const Mlp&)> on_load_;
  std::map<int64_t, Mlp> experts_;
};

/// Dtype of norms and sums in a run of `dtype`.
inline at::ScalarType wide_type(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}
/// Model::load() and, as its pages are not needed any more, none of them in memory: no weight is there twice.
at::Tensor load_once(const models::Model& model, const std::string& name, at::ScalarType dtype,
                     at::Device device);

/// `name`: "layer.3.attn_norm", "final_norm".
Norm load_norm(const models::Model& model, const std::string& name, at::ScalarType dtype, at::Device device);

/// Tells the kernel that a layer's pages are wanted soon, but for those of its experts.
void prefetch_layer(const models::Model& model, int64_t layer);

}  // namespace outliers::run
