// The largest value of a tensor and its place, in one read.
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"

namespace outliers::stats {

struct Largest {
  double value;   ///< signed
  int64_t place;  ///< in x.flatten(); of equal ones the first
};

/// Of the finite values of x the one whose abs is largest; nothing where there is none. Floating point, any
/// device and strides.
OUTLIERS_API std::optional<Largest> largest_abs(const at::Tensor& x);

}  // namespace outliers::stats
