// A small report, for tests of what reads reports: 2 layers, 3 tokens of prompt, 2 windows of 5 tokens, width
// 4, MLP width 6, 2 heads. Token 0 is massive in channel 3 from layer 1 on.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "outliers/results/results.h"

namespace outliers::tests {

struct SampleReport {
  results::Results data;
  std::map<std::string, at::Tensor> arrays;

  results::LayerInput& at(size_t layer, const std::string& input) {
    return *data.layers[layer].inputs.find(input);
  }
  void write(const std::filesystem::path& directory) const;
};

SampleReport sample_report();

/// Another input, measured as `like` was.
void add_input(SampleReport& report, const std::string& name, const std::string& like);
/// What a report made without the measure lacks: its parts, its arrays and its name.
void leave_out(SampleReport& report, const std::string& measure);
/// A value of every layer and input: layer + head / 10.
void add_value(SampleReport& report, const std::string& name, const std::string& shape);

}  // namespace outliers::tests
