// Which layers the figures of one layer show, and what figures do with layers that cannot be told of
// (summary.first_nonfinite).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "outliers/results/results.h"

namespace outliers::report {

struct Chosen {
  int64_t born = 0;   ///< the life's born_layer; the layer that comes closest where there is none
  int64_t after = 0;  ///< the layer after it, whose attention the outlier meets first
  std::optional<int64_t> removed, peak;  ///< the life's
};

/// From what `prompt` tells. Without it (nullptr), or where its activations were not measured, the layer that
/// comes closest is the one whose down_proj has the largest score.
Chosen choose(const results::Results& r, const results::Input* prompt);

/// gnuplot commands that shade the layers that cannot be told of, on an x axis of layers.
std::string untold_layers(const results::Results& r);

}  // namespace outliers::report
