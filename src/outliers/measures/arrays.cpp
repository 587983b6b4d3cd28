#include "outliers/measures/arrays.h"

#include <ATen/ATen.h>

namespace outliers::measures {

NamedArrays Arrays::take() {
  NamedArrays arrays;
  for (auto& [name, layers] : layers_) {
    arrays.emplace_back(name, at::stack(layers));
    layers.clear();
  }
  layers_ = {};
  return arrays;
}

}  // namespace outliers::measures
