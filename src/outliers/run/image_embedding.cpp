#include "outliers/run/image_embedding.h"

#include <ATen/ATen.h>

#include "outliers/run/block.h"

namespace outliers::run {

namespace {

/// Positions of the patches, [1,n,D], for another grid than the square one they were learnt for.
at::Tensor interpolated(const at::Tensor& positions, const models::Vision& vision, models::PatchGrid grid) {
  const models::PatchGrid learnt = learnt_grid(vision);
  const at::Tensor map =
      positions.view({1, learnt.rows, learnt.columns, -1}).permute({0, 3, 1, 2}).contiguous();
  const std::vector<int64_t> size = {grid.rows, grid.columns};
  const at::Tensor resized = vision.resize == models::PositionResize::bicubic
                                 ? at::upsample_bicubic2d(map, size, false)
                                 : at::_upsample_bicubic2d_aa(map, size, false);
  return resized.permute({0, 2, 3, 1}).reshape({1, grid.rows * grid.columns, -1});
}

}  // namespace

ImageEmbedding::ImageEmbedding(const models::Model& model, models::PatchGrid grid, at::ScalarType dtype,
                               at::Device device)
    : config_(model.config()), grid_(grid) {
  const auto load = [&](const char* name) { return load_once(model, name, dtype, device); };
  const at::Device host = device.is_meta() ? device : at::Device(at::kCPU);
  const int64_t D = config_.width;
  weight_ = load("patch_embedding.weight");
  if (model.has("patch_embedding.bias")) bias_ = load("patch_embedding.bias");
  // Interpolated in float32 whatever the run's dtype is, from values of that dtype, as transformers does.
  const at::Tensor positions = load_once(model, "positions.weight", dtype, host).view({1, -1, D});
  at::Tensor patches = positions.narrow(1, 1, positions.size(1) - 1);
  if (!(grid == learnt_grid(config_.vision))) {
    patches = interpolated(patches.to(at::kFloat), config_.vision, grid).to(dtype);
  }
  positions_ = patches.to(device);
  first_ = load("cls.weight").view({1, 1, D}) + positions.narrow(1, 0, 1).to(device);
  if (config_.vision.registers > 0) first_ = at::cat({first_, load("registers.weight").view({1, -1, D})}, 1);
  if (config_.embedding_norm) norm_ = load_norm(model, "embedding_norm", dtype, device);
}

at::Tensor ImageEmbedding::operator()(const at::Tensor& pixels) const {
  const models::Vision& v = config_.vision;
  const int64_t B = pixels.size(0), rows = grid_.rows, columns = grid_.columns;
  // A convolution whose steps are its kernel's size is one product with the unfolded patches.
  const at::Tensor patches = pixels.narrow(2, 0, rows * v.patch_height)
                                 .narrow(3, 0, columns * v.patch_width)
                                 .to(weight_.options())
                                 .reshape({B, v.channels, rows, v.patch_height, columns, v.patch_width})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({B, rows * columns, -1});
  const at::Tensor embedded = at::linear(patches, weight_, bias_).add_(positions_);
  const at::Tensor tokens = at::cat({first_.expand({B, -1, -1}), embedded}, 1);
  return config_.embedding_norm ? normalise(config_, norm_, tokens) : tokens;
}

}  // namespace outliers::run
