// Definitions that are one comparison with a criterion, for those who measure and those who draw.
#pragma once

#include <algorithm>

#include "outliers/core/criteria.h"

namespace outliers {

/// A massive activation is an abs x above this (Sun et al., arXiv 2402.17762); `median`: of abs x over all
/// tokens and channels of the point.
inline double massive_threshold(double median, const Criteria& criteria) {
  return std::max(criteria.massive_above, criteria.massive_ratio * median);
}

/// An outlier token has an abs x above this (arXiv 2502.06415, section 3.2); `mean`: of abs x, likewise.
inline double outlier_token_threshold(double mean, const Criteria& criteria) {
  return criteria.outlier_token_ratio * mean;
}

}  // namespace outliers
