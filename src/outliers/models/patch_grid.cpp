#include "outliers/models/patch_grid.h"

#include "outliers/core/error.h"

namespace outliers::models {

PatchGrid learnt_grid(const Vision& v) {
  return {v.image_height / v.patch_height, v.image_width / v.patch_width};
}

PatchGrid patch_grid(const Config& config, int64_t height, int64_t width, const std::string& what) {
  const Vision& v = config.vision;
  const PatchGrid grid{height / v.patch_height, width / v.patch_width}, learnt = learnt_grid(v);
  require(grid.rows >= 1 && grid.columns >= 1, kArgument,
          "{}: {} x {} pixels (height x width) hold no patch of {} x {}", what, height, width, v.patch_height,
          v.patch_width);
  const bool native = height == v.image_height && width == v.image_width;
  if (v.resize == PositionResize::none) {
    require(
        native, kArgument,
        "{}: {} x {} pixels (height x width), but this model takes images of {} x {}: its positions are not "
        "interpolated",
        what, height, width, v.image_height, v.image_width);
  } else {
    require(
        grid == learnt || learnt.rows == learnt.columns, kArgument,
        "{}: positions learnt for {} x {} patches cannot be interpolated to {} x {}: the first grid is no "
        "square",
        what, learnt.rows, learnt.columns, grid.rows, grid.columns);
  }
  return grid;
}

int64_t image_tokens(const Config& config, PatchGrid grid) {
  return 1 + config.vision.registers + grid.rows * grid.columns;
}

}  // namespace outliers::models
