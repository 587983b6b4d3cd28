// Which layers the figures of one layer show.
#pragma once

#include <cstdint>
#include <optional>

#include "outliers/report/results.h"

namespace outliers::report {

struct Chosen {
  int64_t born;                    ///< summary.born_layer; the layer that comes closest where there is none
  int64_t after;                   ///< the layer after it, whose attention the outlier meets first
  std::optional<int64_t> removed;  ///< summary.removed_layer
};

Chosen choose(const Results& results);

}  // namespace outliers::report
