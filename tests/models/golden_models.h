// The tiny models of tests/golden/models, which tests/oracle/models_tiny.py and models_vision.py write:
// folders FAMILY_WHAT, each with config.json, model.safetensors, reference.npz and, where GGUF has the
// architecture, model.gguf.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "support.h"

namespace outliers::tests {

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
