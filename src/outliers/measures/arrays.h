// The arrays of a report while they grow by a layer at a time.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/results/named.h"

namespace outliers::measures {

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
