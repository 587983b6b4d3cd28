// Runs a model with measures, and names its tokens by their numbers.
#pragma once

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "outliers/measures/measure_set.h"
#include "outliers/models/model.h"
#include "outliers/results/json.h"
#include "outliers/run/runner.h"

namespace outliers::tests {

class Numbers : public measures::TokenNames {
 public:
  std::string text(int64_t id) const override { return std::to_string(id); }
  const char* kind(int64_t, int64_t position) const override { return position == 0 ? "initial" : "other"; }
};

/// The inputs of a run as measures know them: prompts are those whose names begin so.
inline std::vector<measures::Input> measured_inputs(const std::vector<run::Input>& inputs) {
  std::vector<measures::Input> list;
  for (const run::Input& input : inputs) {
    const bool prompt = input.name.starts_with("prompt");
    list.push_back({input.name, prompt ? results::InputKind::prompt : results::InputKind::corpus, input.ids});
  }
  return list;
}

struct Measured {
  results::Results results;
  measures::NamedArrays arrays;

  const results::LayerInput& part(size_t layer, const std::string& input) const {
    return *results.layers.at(layer).inputs.find(input);
  }
  const at::Tensor& array(const std::string& name) const {
    for (const auto& [known, tensor] : arrays) {
      if (known == name) return tensor;
    }
    TORCH_CHECK(false, "there is no array ", name);
  }
};

/// `names` as choose_measures() takes them.
inline Measured measure(const models::Model& model, const std::vector<run::Input>& inputs,
                        const std::vector<std::string>& names, run::RunOptions options = {},
                        const Criteria& criteria = {}) {
  const Numbers numbers;
  measures::MeasureSet set({model.config(), numbers, measured_inputs(inputs), nullptr, criteria},
                           measures::choose_measures(names, model.config()));
  options.sink_queries = criteria.sink_queries;
  run::forward(model, inputs, {&set}, options);
  Measured measured;
  measured.results.criteria = criteria;
  for (const measures::Input& input : measured_inputs(inputs)) {
    results::Input& listed = measured.results.inputs.emplace_back();
    listed.name = input.name;
    listed.kind = input.kind;
  }
  measured.results.layers = set.take_layers();
  set.finish(measured.results);
  measured.arrays = set.take_arrays();
  return measured;
}

}  // namespace outliers::tests
