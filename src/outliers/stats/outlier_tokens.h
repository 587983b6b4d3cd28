// Outlier tokens of one point: the paper's criterion (arXiv 2502.06415, section 3.2), stated here once.
#pragma once

#include <ATen/ATen.h>

#include "outliers/core/criteria.h"

namespace outliers::stats {

/// token_max: largest abs x by token, any shape; `mean`: of abs x over all tokens and channels. bool, of the
/// shape of token_max.
inline at::Tensor outlier_tokens(const at::Tensor& token_max, double mean, const Criteria& criteria = {}) {
  return token_max > criteria.outlier_token_ratio * mean;
}

}  // namespace outliers::stats
