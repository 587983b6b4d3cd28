// Tensors of a layer that wait for a second look, in memory or on disk.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/spill.h"

namespace outliers::measures {

class KeptTensors {
 public:
  /// `spill`: where to keep x; nullptr for memory, by reference.
  void add(const at::Tensor& x, Spill* spill) {
    if (spill == nullptr) {
      kept_.push_back({x, nullptr, 0});
    } else {
      kept_.push_back({{}, spill, spill->add(x)});
    }
  }
  template <typename Action>
  void for_each(const Action& action) const {
    for (const Kept& kept : kept_) action(kept.x.defined() ? kept.x : kept.spill->get(kept.number));
  }

 private:
  struct Kept {
    at::Tensor x;  // undefined on disk
    const Spill* spill;
    size_t number;  // there
  };
  std::vector<Kept> kept_;
};

}  // namespace outliers::measures
