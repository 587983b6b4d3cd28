// What a run is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/models/config.h"

namespace outliers::run {

/// Sequences of one length that are run together.
struct Input {
  std::string name;        ///< "prompt", "corpus"
  at::Tensor ids;          ///< int64 [B,T], CPU; of images the numbers of their tokens
  at::Tensor pixels = {};  ///< [B,C,H,W] for models of images (image_input), else undefined
};

/// Where in the run a tensor belongs: sequences [first_sequence, first_sequence + x.size(0)) of
/// inputs[input].
struct Slice {
  size_t input;
  int64_t first_sequence;
};

/// Of images: pixels [B,C,H,W], ready for the model (rescaled, normalised), float. The ids are the numbers of
/// their tokens.
OUTLIERS_API Input image_input(const models::Config& config, std::string name, const at::Tensor& pixels);

}  // namespace outliers::run
