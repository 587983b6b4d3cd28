// L2 norms of the tokens of images, layer by layer: CLS, registers and patches apart. Darcet et al., "Vision
// Transformers Need Registers" (arXiv 2309.16588), find a few patches of high norm in models without
// registers, and the registers in their place in models that have them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "outliers/core/ranks.h"
#include "outliers/models/config.h"

namespace outliers::studies {

/// Patches of a larger norm in the last layer's output are called high (2309.16588, for DINOv2-g).
inline constexpr double kHighNorm = 150;

/// The norms of one batch of images.
class TokenNorms {
 public:
  explicit TokenNorms(const models::Config& config) : registers_(config.vision.registers) {}

  /// resid_out of some sequences, in order: [b,T,D].
  void add(const at::Tensor& x);
  void merge(Ranks& ranks);
  /// Ends a layer; on rank 0 after merge().
  void finish(int64_t layer);
  /// Drops the layer's parts, where another rank finishes it.
  void drop() { parts_.clear(); }

  /// One object a layer, as docs/results.md says.
  const nlohmann::ordered_json& layers() const { return layers_; }
  /// By layer, float32 [N,T].
  const std::vector<at::Tensor>& norms() const { return norms_; }

 private:
  int64_t registers_;
  std::vector<at::Tensor> parts_, norms_;
  nlohmann::ordered_json layers_ = nlohmann::ordered_json::array();
};

/// results.json's summary.norms: the last layer of the corpus's norms.
nlohmann::ordered_json summarise_norms(const nlohmann::ordered_json& layers);

}  // namespace outliers::studies
