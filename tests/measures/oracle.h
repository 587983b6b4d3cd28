// Measures beside what transformers computed in float64: every point of every tiny model
// (tests/oracle/models_tiny.py, models_vision.py).
#pragma once

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "outliers/io/npz.h"

#include "measures/measured.h"
#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::tests {

/// A layer of a tiny model as a corpus, and the tensors of its points in float64.
struct OracleLayer {
  const models::Model& model;
  std::string name;  ///< the model's, and the layer
  int64_t layer;
  const Measured& found;
  const io::NpzReader& reference;

  at::Tensor point(const std::string& point_name) const {
    return reference.read(fmt::format("layer.{}.{}", layer, point_name)).to(at::kDouble);
  }
  const models::Config& config() const { return model.config(); }
  const results::LayerInput& part() const { return found.part(static_cast<size_t>(layer), "corpus"); }

  /// The measure's value `what`: one number, or one a head.
  void expect(const std::string& what, const at::Tensor& wanted, double relative = 2e-4,
              double absolute = 1e-6) const {
    const std::vector<double>* got = part().values.find(what);
    ASSERT_NE(got, nullptr) << name << " " << what;
    const at::Tensor list = wanted.flatten();
    ASSERT_EQ(static_cast<int64_t>(got->size()), list.numel()) << name << " " << what;
    for (int64_t i = 0; i < list.numel(); ++i) {
      const double value = list[i].item<double>();
      EXPECT_NEAR((*got)[static_cast<size_t>(i)], value, relative * std::abs(value) + absolute)
          << name << " " << what << " " << i;
    }
  }
};

inline void for_each_oracle_layer(const std::vector<std::string>& measures,
                                  const std::function<void(const OracleLayer&)>& check,
                                  const Criteria& criteria = {}) {
  for (const std::string& name : golden_models()) {
    const std::filesystem::path folder = golden("models/" + name);
    const io::NpzReader reference(folder / "reference.npz");
    const auto model = models::Model::open(folder / "model.safetensors");
    run::Input input = golden_input(*model, reference);
    input.name = "corpus";
    const Measured found = measure(*model, {input}, measures, {}, criteria);
    for (int64_t layer = 0; layer < model->config().layers; ++layer)
      check({*model, fmt::format("{} layer {}", name, layer), layer, found, reference});
  }
}

}  // namespace outliers::tests
