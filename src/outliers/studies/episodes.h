// When a value of the residual stream is an outlier.
#pragma once

#include <cstdint>
#include <vector>

#include "outliers/core/criteria.h"
#include "outliers/results/results.h"

namespace outliers::studies {

/// One place of the residual stream through the layers.
struct Trace {
  int64_t token = 0, channel = 0;
  double embedding = 0;        ///< what layer 0 reads there
  std::vector<double> values;  ///< of resid_out, [L], signed
};

/// The place's episodes, in order, without the token's text and class. One begins where its abs value reaches
/// found_ratio medians of its layer (after an earlier one: where it is 1/removed_share of the smallest since,
/// too), and ends where it is below removed_share of its peak. `medians`: of abs resid_out, [L].
std::vector<results::Episode> episodes_of(const Trace& trace, const std::vector<double>& medians,
                                          const Criteria& criteria = {});

}  // namespace outliers::studies
