// The numbers of the life cycle, from what a run shows of each layer.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/criteria.h"
#include "outliers/measures/arrays.h"
#include "outliers/measures/mlp_products.h"
#include "outliers/models/model.h"
#include "outliers/results/lifecycle.h"
#include "outliers/run/observer.h"

namespace outliers::studies {

/// What is looked at of one prompt.
struct LifeTargets {
  size_t input = 0;    ///< its number in the run
  int64_t tokens = 0;  ///< T
  std::string name;
  int64_t token = 0, channel = 0;  ///< the value that is taken apart
  std::optional<int64_t> neuron;   ///< of the layer of birth, to be drawn in place of the largest writer
  std::optional<int64_t> born, removed, spread;  ///< layers whose flow is drawn
  int64_t head = 0;                              ///< of the layer of spread
};

/// Of each prompt, while it is run: who wrote the value, layer by layer; what outlier tokens do in attention;
/// how the neurons of the layer of birth come to their values; and what the flow diagrams draw.
class LifecycleParts : public run::Observer {
 public:
  /// Inputs that are no target's are looked at for constancy alone.
  LifecycleParts(const models::Model& model, std::vector<LifeTargets> targets, const Criteria& criteria);

  bool wants(const run::Site& site, size_t input) const override;
  bool wants_weights(int64_t layer) const override;
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override;
  void on_weight(int64_t layer, const run::LayerWeight& weight) override;
  void on_layer_end(int64_t layer) override;
  run::ObserverMemory memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                             int64_t chunk_tokens) const override;

  /// What a prompt's layers showed.
  struct Found {
    double embedding = 0;
    std::vector<results::LayerContributions> layers;
    std::vector<results::LayerSpread> spread;
    std::vector<results::DrivenNeuron> neurons;
  };
  const Found& found(size_t target) const { return found_[target]; }
  const std::vector<results::Constancy>& constancy() const { return constancy_; }
  /// "prompt.life.born.down_in" and its like (results::array_table()).
  measures::NamedArrays take_arrays() { return std::move(arrays_); }

 private:
  using Shown = std::map<run::Point, at::Tensor>;  // less the batch
  struct Place {
    int64_t layer, token, channel;
  };
  using Point = run::Point;

  const LifeTargets* target(size_t input) const;
  results::LayerContributions parts_of(const Place& place);
  void add_attention(const Place& place, results::LayerContributions& parts) const;
  std::optional<results::LayerSpread> spread_of(int64_t layer) const;
  results::DrivenNeuron driven(const results::Neuron& neuron, int64_t token) const;
  double bias(const std::string& name, int64_t channel) const;
  double mlp_bias(int64_t layer, int64_t token, int64_t channel) const;
  /// What the flow diagrams of an MLP and of a head draw.
  void keep_mlp(const LifeTargets& target, const char* part, const results::Neuron& neuron);
  void keep_head(const LifeTargets& target);
  at::Tensor of_neurons(Point point, const results::Neuron& neuron) const;

  const models::Model& model_;
  const models::Config& config_;
  std::vector<LifeTargets> targets_;
  Criteria criteria_;
  Shown shown_;                                                    // of the prompt that runs
  measures::MlpProducts mlp_;                                      // of it, too
  std::map<std::pair<std::string, int64_t>, at::Tensor> weights_;  // by module and expert
  std::vector<at::Tensor> normed_;                                 // of outlier tokens, [n,D]
  std::vector<Found> found_;
  std::vector<results::Constancy> constancy_;
  measures::NamedArrays arrays_;
};

}  // namespace outliers::studies
