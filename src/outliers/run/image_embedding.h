// From pixels to the tokens that layer 0 reads.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "outliers/models/model.h"
#include "outliers/models/patch_grid.h"
#include "outliers/run/layer_weights.h"

namespace outliers::run {

/// Reads the embedding's weights once and applies them to images of one size.
class ImageEmbedding {
 public:
  ImageEmbedding(const models::Model& model, models::PatchGrid grid, at::ScalarType dtype, at::Device device);
  /// pixels [b,C,H,W] of any float dtype, anywhere -> [b,T,D], dtype and device of the run.
  at::Tensor operator()(const at::Tensor& pixels) const;

 private:
  const models::Config& config_;
  models::PatchGrid grid_;
  at::Tensor weight_, bias_;  // [D,C*ph*pw], [D]
  at::Tensor first_;          // [1,1+R,D]: CLS with its position, registers
  at::Tensor positions_;      // [1,rows*columns,D]
  Norm norm_;
};

}  // namespace outliers::run
