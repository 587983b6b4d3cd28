#include "outliers/ops/norm.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include "outliers/core/shape.h"
#include "outliers/ops/error.h"
#include "outliers/ops/rows.h"

namespace outliers::ops {

namespace {

/// Sum of squares in 16 independent lanes: fast, and closer to the true sum than one running total.
template <typename T, typename Sum>
Sum sum_of_squares(const T* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  Sum lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const Sum value = static_cast<Sum>(x[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (; i < n; ++i) lanes[i % kLanes] += static_cast<Sum>(x[i]) * static_cast<Sum>(x[i]);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <typename T, typename Sum>
void normalise_rows(const at::Tensor& x, const at::Tensor& weight, double epsilon, at::Tensor& out) {
  const int64_t n = x.size(-1);
  const RowOffsets offsets(x);
  const T* input = x.const_data_ptr<T>();
  const Sum* scale = weight.const_data_ptr<Sum>();
  T* output = out.mutable_data_ptr<T>();
  at::parallel_for(0, offsets.rows(), std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = input + offsets.at(row);
      T* to = output + row * n;
      const Sum mean = sum_of_squares<T, Sum>(from, n) / static_cast<Sum>(n);
      const Sum inverse = Sum(1) / std::sqrt(mean + static_cast<Sum>(epsilon));
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(static_cast<Sum>(from[i]) * inverse * scale[i]);
    }
  });
}

void check_parameter(const at::Tensor& parameter, const at::Tensor& x, const char* function,
                     const char* name) {
  check_shape(parameter, function, name, {x.size(-1)});
  const at::ScalarType type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  require(parameter.scalar_type() == type, "{}: {} is {}, but should be {} for x of {}", function, name,
          toString(parameter.scalar_type()), toString(type), toString(x.scalar_type()));
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  check_parameter(weight, x, "rms_norm", "weight");
  const at::ScalarType sum_type = weight.scalar_type();
  if (!x.is_cpu() && !x.is_meta()) {
    const at::Tensor wide = x.to(sum_type);
    return (wide * at::rsqrt(wide.square().mean(-1, true) + epsilon) * weight).to(x.scalar_type());
  }
  const at::Tensor rows = x.stride(-1) == 1 ? x : x.contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options());
  if (out.numel() == 0 || x.is_meta()) return out;
  if (x.scalar_type() == at::kDouble) {
    normalise_rows<double, double>(rows, weight.contiguous(), epsilon, out);
  } else {
    AT_DISPATCH_SWITCH(x.scalar_type(), "rms_norm", AT_DISPATCH_CASE(at::kFloat, [&] {
                         normalise_rows<scalar_t, float>(rows, weight.contiguous(), epsilon, out);
                       }) AT_DISPATCH_CASE(at::kBFloat16, [&] {
                         normalise_rows<scalar_t, float>(rows, weight.contiguous(), epsilon, out);
                       }) AT_DISPATCH_CASE(at::kHalf, [&] {
                         normalise_rows<scalar_t, float>(rows, weight.contiguous(), epsilon, out);
                       }));
  }
  return out;
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon) {
  if (weight.defined()) check_parameter(weight, x, "layer_norm", "weight");
  if (bias.defined()) check_parameter(bias, x, "layer_norm", "bias");
  const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor in = x.to(wide);
  // What PyTorch's operator allocates, which has no form without data.
  const at::Tensor dense = x.is_meta() ? in.contiguous() : at::Tensor();
  const at::Tensor out = x.is_meta() ? at::empty(x.sizes(), in.options())
                                     : at::layer_norm(in, {x.size(-1)}, weight, bias, epsilon);
  return out.to(x.scalar_type());
}

}  // namespace outliers::ops
