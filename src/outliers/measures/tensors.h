// Small operations that several measures need.
#pragma once

#include <vector>

#include <ATen/ATen.h>

namespace outliers::measures {

/// float32, contiguous, on the CPU.
inline at::Tensor on_host(const at::Tensor& x) {
  return x.to(at::kCPU, at::kFloat).contiguous();
}

/// As results have them; x of one dimension.
inline std::vector<double> numbers(const at::Tensor& x) {
  const at::Tensor all = x.to(at::kCPU, at::kDouble).contiguous();
  return {all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()};
}

/// x with zeros behind its last dimension, `size` in all.
inline at::Tensor padded(const at::Tensor& x, int64_t size) {
  return x.size(-1) == size ? x : at::constant_pad_nd(x, {0, size - x.size(-1)});
}

/// abs x in float32, 0 where x is not finite.
inline at::Tensor finite_abs(const at::Tensor& x) {
  return x.to(at::kFloat).abs().nan_to_num(0, 0, 0);
}

}  // namespace outliers::measures
