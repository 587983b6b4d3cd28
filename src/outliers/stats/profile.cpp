#include "outliers/stats/profile.h"

#include <ATen/ATen.h>

#include "outliers/core/shape.h"

namespace outliers::stats {

Profile profile(const at::Tensor& x, const ProfileLimits& limits) {
  check_shape(x, "stats::profile", "x", {-1, -1, -1});
  return x.is_cpu() ? cpu::profile(x, limits) : reference::profile(x, limits);
}

}  // namespace outliers::stats
