#include "outliers/stats/profile.h"

#include <ATen/ATen.h>

namespace outliers::stats::reference {

Profile profile(const at::Tensor& x_in, const ProfileLimits& limits) {
  const at::Tensor x = x_in.to(at::kFloat), size = x.abs(), squares = x.square();
  const at::Tensor square = squares.mean(2, true), central = (x - x.mean(2, true)).square();
  const auto on_host = [](const at::Tensor& y) { return y.cpu(); };
  Profile p;
  p.max = on_host(size.amax(2));
  p.abs_mean = on_host(size.mean(2));
  p.square = on_host(square.squeeze(2));
  p.variance = on_host(central.mean(2));
  p.fourth = on_host(central.square().mean(2));
  p.channel_square = on_host(squares.sum(1, false, at::kDouble));
  p.channel_unit = on_host(
      (squares / square).masked_fill(square == 0, 0).sum(at::IntArrayRef({0, 1}), false, at::kDouble));
  p.above = on_host(size.ge(limits.above).sum(at::IntArrayRef({0, 1})));
  p.above_rms = on_host((size > square.sqrt() * limits.above_rms).sum(at::IntArrayRef({0, 1})));
  return p;
}

}  // namespace outliers::stats::reference
