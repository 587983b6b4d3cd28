// What the numbers of a survey say together: where the outlier is born, carried and removed, in which
// channels and tokens, and the head-room of number formats.
#pragma once

#include <optional>
#include <vector>

#include "outliers/core/criteria.h"
#include "outliers/results/results.h"

namespace outliers::studies {

struct LifeSpan {
  std::optional<int64_t>
      born;  ///< layer whose ratio is the largest multiple of the layer's before, up to the peak
  std::optional<int64_t> peak;     ///< layer of the largest max
  std::optional<int64_t> removed;  ///< first layer after the peak from which on max < removed_share of it
};

/// `embedding` is what layer 0 reads. Nothing is set where no layer's ratio reaches found_ratio.
LifeSpan life_span(const results::Extent& embedding, const std::vector<results::Extent>& layers,
                   const Criteria& criteria = {});

/// Fills in the summary's lives, sink rate, head-room, norms and features (features.h), from what was
/// measured of the layers before the one of its first_nonfinite.
void summarise(results::Results& results);

}  // namespace outliers::studies
