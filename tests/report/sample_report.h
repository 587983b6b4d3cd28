// A small report that follows the schema, for tests of what reads reports: 2 layers, 3 tokens of prompt, 2
// windows of 5 tokens, width 4, MLP width 6, 2 heads. Token 0 is massive in channel 3 from layer 1 on.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

namespace outliers::tests {

struct SampleReport {
  nlohmann::ordered_json json;
  std::map<std::string, at::Tensor> arrays;

  void write(const std::filesystem::path& directory) const;
};

SampleReport sample_report();

}  // namespace outliers::tests
