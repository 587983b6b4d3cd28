// What the tiny models of tests/golden/models are run with.
#pragma once

#include <ATen/ATen.h>

#include "outliers/io/npz.h"
#include "outliers/models/model.h"
#include "outliers/run/input.h"

#include "models/golden_models.h"

namespace outliers::tests {

/// What the points of a reference.npz were computed from.
inline run::Input golden_input(const models::Model& model, const io::NpzReader& reference) {
  if (!models::reads_images(model.config())) return {"prompt", reference.read("ids")};
  return run::image_input(model.config(), "prompt", reference.read("pixel_values"));
}

/// Two sequences of seven tokens, or two images, for a model of any family.
inline run::Input some_input(const models::Model& model) {
  const models::Config& c = model.config();
  if (!models::reads_images(c)) return {"a", at::arange(14).remainder(c.vocabulary).view({2, 7})};
  const std::vector<int64_t> shape = {2, c.vision.channels, c.vision.image_height, c.vision.image_width};
  return run::image_input(c, "a", at::linspace(-2, 2, c10::multiply_integers(shape)).view(shape));
}

}  // namespace outliers::tests
