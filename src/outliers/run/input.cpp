#include "outliers/run/input.h"

#include <ATen/ATen.h>

#include "outliers/core/shape.h"
#include "outliers/models/patch_grid.h"

namespace outliers::run {

Input image_input(const models::Config& config, std::string name, const at::Tensor& pixels) {
  check_shape(pixels, "image_input", "pixels", {-1, config.vision.channels, -1, -1});
  const int64_t tokens =
      image_tokens(config, patch_grid(config, pixels.size(2), pixels.size(3), "input '" + name + "'"));
  const at::Tensor ids = at::arange(tokens, at::kLong).expand({pixels.size(0), tokens}).contiguous();
  return {std::move(name), ids, pixels};
}

}  // namespace outliers::run
