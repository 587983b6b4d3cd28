// What shapes of distributions are made of: moments of every token over its channels, and sums and counts of
// every channel over its tokens, in one read.
#pragma once

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"

namespace outliers::stats {

struct ProfileLimits {
  double above = 0;      ///< `above` counts abs x of at least this
  double above_rms = 0;  ///< `above_rms` counts abs x above this x the root mean square of its token
};

/// Of x [B,T,C]; all on the CPU. What is not finite makes what it enters not finite.
struct Profile {
  // float32 [B,T], over a token's channels.
  at::Tensor max;       ///< largest abs x
  at::Tensor abs_mean;  ///< mean of abs x
  at::Tensor square;    ///< mean of x^2
  at::Tensor variance;  ///< mean of (x - mean)^2
  at::Tensor fourth;    ///< mean of (x - mean)^4
  // Over tokens.
  at::Tensor channel_square;    ///< float64 [B,C]: sum over a sequence's tokens of x^2
  at::Tensor channel_unit;      ///< float64 [C]: sum over all tokens of x^2 / square; 0 of a token of zeros
  at::Tensor above, above_rms;  ///< int64 [C]: how many tokens are
};

/// float32, float16, bfloat16 or float64 (computed in float32), any device and strides.
OUTLIERS_API Profile profile(const at::Tensor& x, const ProfileLimits& limits);

namespace reference {
/// From ATen operations, on any device.
Profile profile(const at::Tensor& x, const ProfileLimits& limits);
}  // namespace reference

namespace cpu {
Profile profile(const at::Tensor& x, const ProfileLimits& limits);
}  // namespace cpu

}  // namespace outliers::stats
