// What the neurons of a layer's MLP, or of the experts that a token passes, add to a value of its output.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/measures/measure.h"

namespace outliers::measures {

/// What writes to the residual stream at a token: one MLP's input, and how much its output counts.
struct MlpSource {
  int64_t expert;  ///< run::kNoExpert, run::kSharedExpert
  double weight;
  int64_t place;       ///< among the token's experts
  at::Tensor down_in;  ///< [F] float32, CPU
};

/// Keeps one sequence's points and the down projections of a layer until forget().
class MlpProducts {
 public:
  static PointSet points();
  /// x [1,T,...] of one of points().
  void add(const run::Site& site, const at::Tensor& x) { shown_[site.point] = x[0]; }
  /// Down projections; others are left alone.
  void add(const run::LayerWeight& weight);
  void forget();

  std::vector<MlpSource> sources(int64_t token) const;

  struct At {
    std::vector<results::Neuron> neurons;  ///< the largest by abs
    double sum = 0, of_neurons = 0;        ///< of all products, and of those
  };
  /// At a token and channel; `factor`: what is added to the residual over the sum of all that neurons give.
  At parts_at(int64_t token, int64_t channel, double factor, int64_t count) const;

 private:
  bool has(run::Point point) const { return shown_.contains(point); }
  const at::Tensor& shown(run::Point point) const { return shown_.at(point); }

  std::map<run::Point, at::Tensor> shown_;  // [T,F], [T,k], [T,k,Fe]
  std::map<int64_t, at::Tensor> downs_;     // [D,F], by expert
};

/// Whether something stands between down_out and mlp_added, or attn_out and attn_added: a norm (by its root
/// mean square) or LayerScale, which multiply what a channel has from all parts.
inline bool changes_branches(const models::Config& config) {
  return config.branch_norms || config.branch_scales;
}
/// What that multiplies by: added / out.
inline double branch_factor(double added, double out) {
  return out == 0 ? 0 : added / out;
}

}  // namespace outliers::measures
