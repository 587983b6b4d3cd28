// Which tokens are outliers of a layer.
#pragma once

#include "outliers/core/thresholds.h"
#include "outliers/results/results.h"

namespace outliers::results {

/// Whether a token whose largest abs x at a point is `token_max` is an outlier token (arXiv 2502.06415,
/// section 3.2) or holds a massive activation (2402.17762), by mean and median of the point over all tokens.
inline bool is_outlier_token(const Activations& point, double token_max, const Criteria& criteria) {
  return token_max > outlier_token_threshold(point.mean, criteria) ||
         token_max > massive_threshold(point.median, criteria);
}

}  // namespace outliers::results
