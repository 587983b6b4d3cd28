// What a layer takes of memory, found by computing it on tensors that have shapes and lifetimes but no data.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "outliers/core/meta_memory.h"
#include "outliers/models/model.h"
#include "outliers/run/image_embedding.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/tap.h"

namespace outliers::run {

/// In bytes.
struct WeightMemory {
  int64_t kept = 0;    ///< while chunks pass the layer
  int64_t moment = 0;  ///< beside that, the most for a moment, while parts are joined
  int64_t expert = 0;  ///< of one expert, each of which comes on top
};

class Rehearsal {
 public:
  Rehearsal(const models::Model& model, at::ScalarType dtype);

  WeightMemory weights(int64_t layer);
  /// The most that is alive at a time beside the weights while B sequences of T tokens pass the layer, their
  /// hidden states before it included. shared: those stay as they are, for a second pass or a branch.
  int64_t work(int64_t layer, int64_t B, int64_t T, const Tap& tap, bool shared);
  /// Of what makes tokens of images in a grid of patches, and of B of them [channels, height, width] on their
  /// way, beside the tokens that come out.
  WeightMemory image_weights(models::PatchGrid grid);
  int64_t image_work(models::PatchGrid grid, at::IntArrayRef pixels);
  /// Of the tables of sines and cosines for sequences of T tokens, which a run keeps.
  int64_t rotary(int index, int64_t T) const;

 private:
  struct Part {
    LayerWeights weights;
    std::unique_ptr<LayerExperts> experts;
    WeightMemory memory;
  };
  Part& part(int64_t layer);
  struct Images {
    std::unique_ptr<ImageEmbedding> embedding;
    WeightMemory memory;
  };
  Images& images(models::PatchGrid grid);

  const models::Model& model_;
  const at::ScalarType dtype_;
  MetaMemory memory_;  // first, since what follows is counted
  Stopwatch loading_;
  std::map<bool, Part> parts_;                            // layers differ in whether they have experts
  std::map<std::pair<int64_t, int64_t>, Images> images_;  // by rows and columns
  std::map<std::string, int64_t> known_;
};

}  // namespace outliers::run
