// The tiny models of tests/golden/models, which tests/oracle/models_tiny.py and models_vision.py write:
// folders FAMILY_WHAT, each with config.json, model.safetensors, reference.npz and, where GGUF has the
// architecture, model.gguf.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "outliers/io/npz.h"
#include "outliers/models/image_embedding.h"
#include "outliers/models/model.h"

#include "support.h"

namespace outliers::tests {

/// What the points of a reference.npz were computed from.
inline models::Batch golden_batch(const models::Model& model, const io::NpzReader& reference) {
  if (!models::reads_images(model.config())) return {"prompt", reference.read("ids")};
  return models::image_batch(model.config(), "prompt", reference.read("pixel_values"));
}

/// Two sequences of seven tokens, or two images, for a model of any family.
inline models::Batch some_batch(const models::Model& model) {
  const models::Config& c = model.config();
  if (!models::reads_images(c)) return {"a", at::arange(14).remainder(c.vocabulary).view({2, 7})};
  const std::vector<int64_t> shape = {2, c.vision.channels, c.vision.image_height, c.vision.image_width};
  return models::image_batch(c, "a", at::linspace(-2, 2, c10::multiply_integers(shape)).view(shape));
}

inline std::vector<std::string> golden_models() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden("models"))) {
    if (std::filesystem::exists(entry.path() / "reference.npz")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace outliers::tests
