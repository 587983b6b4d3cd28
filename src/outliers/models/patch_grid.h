// How many tokens an image is, by its size.
#pragma once

#include <cstdint>
#include <string>

#include "outliers/models/config.h"

namespace outliers::models {

/// The patches of one image.
struct PatchGrid {
  int64_t rows, columns;
  bool operator==(const PatchGrid&) const = default;
};
/// The one that the positions were learnt for.
PatchGrid learnt_grid(const Vision& vision);
/// Pixels that do not fill a patch at the right and lower edge are left out. Throws for images that the model
/// does not take: without a whole patch, or of another grid where its positions cannot be interpolated.
/// `what` names them.
PatchGrid patch_grid(const Config& config, int64_t height, int64_t width, const std::string& what);
/// T: CLS, registers, patches.
int64_t image_tokens(const Config& config, PatchGrid grid);

}  // namespace outliers::models
