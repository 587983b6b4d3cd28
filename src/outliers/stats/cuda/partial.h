// The CUDA backend of partial.h. Built with OUTLIERS_CUDA only.
#pragma once

#include "outliers/stats/partial.h"

namespace outliers::stats::cuda {

ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query);
std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins);
WeightPartial weight_partial(const at::Tensor& w);

}  // namespace outliers::stats::cuda
