// From pixels to the tokens that layer 0 reads.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "outliers/models/layer_weights.h"
#include "outliers/models/model.h"
#include "outliers/models/runner.h"

namespace outliers::models {

/// The patches of one image.
struct PatchGrid {
  int64_t rows, columns;
};
/// Pixels that do not fill a patch at the right and lower edge are left out. Throws for images that the model
/// does not take: without a whole patch, or of another grid where its positions cannot be interpolated.
/// `what` names them.
PatchGrid patch_grid(const Config& config, int64_t height, int64_t width, const std::string& what);
/// T: CLS, registers, patches.
int64_t image_tokens(const Config& config, PatchGrid grid);
/// pixels [B,C,H,W], ready for the model (rescaled, normalised), float. The ids of a batch of images are the
/// numbers of its tokens.
Batch image_batch(const Config& config, std::string name, const at::Tensor& pixels);

/// Reads the embedding's weights once and applies them to images of one size.
class ImageEmbedding {
 public:
  ImageEmbedding(const Model& model, PatchGrid grid, at::ScalarType dtype, at::Device device);
  /// pixels [b,C,H,W] of any float dtype, anywhere -> [b,T,D], dtype and device of the run.
  at::Tensor operator()(const at::Tensor& pixels) const;

 private:
  const Config& config_;
  PatchGrid grid_;
  at::Tensor weight_, bias_;  // [D,C*ph*pw], [D]
  at::Tensor first_;          // [1,1+R,D]: CLS with its position, registers
  at::Tensor positions_;      // [1,rows*columns,D]
  Norm norm_;
};

}  // namespace outliers::models
