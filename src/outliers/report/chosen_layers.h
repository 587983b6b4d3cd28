// Which layers the figures of one layer show, and what figures do with layers that cannot be told of
// (summary.first_nonfinite).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "outliers/report/results.h"

namespace outliers::report {

struct Chosen {
  int64_t born;                    ///< summary.born_layer; the layer that comes closest where there is none
  int64_t after;                   ///< the layer after it, whose attention the outlier meets first
  std::optional<int64_t> removed;  ///< summary.removed_layer
};

Chosen choose(const Results& results);

/// Whether a figure shows weights, which are told of in all layers.
bool tells_all(std::string_view figure);
/// Whether the figure has a layer to show that is told of.
bool can_tell(const Results& results, std::string_view figure);
/// gnuplot commands that shade the layers that cannot be told of, on an x axis of layers.
std::string untold_layers(const Results& results);

}  // namespace outliers::report
