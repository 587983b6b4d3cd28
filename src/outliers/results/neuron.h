// A neuron, and whose it is.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace outliers::results {

/// Which MLP of a layer of experts: a number, or the one that all tokens share.
struct Expert {
  int64_t number = 0;
  static constexpr int64_t kShared = -2;
  bool is_shared() const { return number == kShared; }
  auto operator<=>(const Expert&) const = default;
};

/// A neuron's part in a value of the residual stream.
struct Neuron {
  int64_t neuron = 0;
  double down_in = 0, weight = 0, product = 0;
  std::optional<Expert> expert;
  std::optional<double> expert_weight;
};

}  // namespace outliers::results
