// A layer's weights as a branch has them: the edited matrices are copies, the rest is the layer's own.
#pragma once

#include <map>
#include <vector>

#include "outliers/run/edit.h"
#include "outliers/run/layer_weights.h"

namespace outliers::run {

/// edits: those of this layer's matrices, in order.
LayerWeights edited_weights(const models::Config& config, LayerWeights weights,
                            const std::vector<const Edit*>& edits);

/// Whether any of the edits is of the layer's numbered experts.
bool edits_experts(const models::Config& config, const std::vector<const Edit*>& edits);

/// The layer's numbered experts, those that are edited as copies.
class EditedExperts : public Experts {
 public:
  /// All arguments outlive it.
  EditedExperts(const models::Config& config, Experts& own, const std::vector<const Edit*>& edits)
      : config_(config), own_(own), edits_(edits) {}
  void prefetch(const std::vector<int64_t>& experts) const override { own_.prefetch(experts); }
  const Mlp& operator[](int64_t expert) override;

 private:
  const models::Config& config_;
  Experts& own_;
  const std::vector<const Edit*>& edits_;
  std::map<int64_t, Mlp> edited_;
};

/// A layer as one input has it.
class EditedLayer {
 public:
  /// The layer's own weights and experts outlive it.
  EditedLayer(size_t input, const models::Config& config, const LayerWeights& weights, Experts& experts,
              std::vector<const Edit*> edits)
      : input_(input),
        edits_(std::move(edits)),
        weights_(edited_weights(config, weights, edits_)),
        own_(experts),
        edited_(config, experts, edits_),
        edits_experts_(run::edits_experts(config, edits_)) {}
  EditedLayer(const EditedLayer&) = delete;
  EditedLayer& operator=(const EditedLayer&) = delete;

  size_t input() const { return input_; }
  const LayerWeights& weights() const { return weights_; }
  Experts& experts() { return edits_experts_ ? static_cast<Experts&>(edited_) : own_; }

 private:
  size_t input_;
  std::vector<const Edit*> edits_;
  LayerWeights weights_;
  Experts& own_;
  EditedExperts edited_;
  bool edits_experts_;
};

/// Bytes of the copies of one layer, at most; chosen: experts that tokens choose, at most.
int64_t edited_weight_bytes(const models::Config& config, const std::vector<const Edit*>& edits,
                            int64_t element_bytes, int64_t chosen);

}  // namespace outliers::run
