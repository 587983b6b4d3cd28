// What to look at of an outlier's life cycle.
#pragma once

#include <cstdint>
#include <optional>

namespace outliers::studies {

/// Nothing: the study chooses, and says why. Layers, heads, neurons and channels count from 0.
struct LifecycleChoice {
  std::optional<int64_t> born, removed, spread;  ///< layers
  std::optional<int64_t> head, neuron, channel;
};

}  // namespace outliers::studies
