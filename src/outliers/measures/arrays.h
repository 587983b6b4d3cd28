// The arrays of a report while they grow by a layer at a time.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/results/named.h"

namespace outliers::measures {

/// What is kept of prompts takes at most this: all their attention maps, what is kept to follow values
/// through the residual stream, and the two maps of the layer whose spread is drawn.
inline constexpr int64_t kPromptBytes = int64_t{256} << 20;

using NamedArrays = std::vector<std::pair<std::string, at::Tensor>>;

class Arrays {
 public:
  /// A layer's part, on the CPU; all of a name have one shape.
  void add(const std::string& name, at::Tensor layer) { layers_[name].push_back(std::move(layer)); }
  /// The latest layer's.
  const at::Tensor& last(const std::string& name) const { return layers_.find(name)->back(); }
  /// [L,...] each, in the order of their first layers. Nothing is left.
  NamedArrays take();

 private:
  results::Named<std::vector<at::Tensor>> layers_;
};

}  // namespace outliers::measures
