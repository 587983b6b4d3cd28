// The backend written as the definitions read, in ATen operations and float64: what tests hold the kernels
// against, and what runs on a device that has no kernels. It makes several copies of the tensor.
#include "outliers/stats/partial.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace outliers::stats::reference {
namespace {

/// int64 keys, any shape.
at::Tensor keys_of(const at::Tensor& x) {
  const at::Tensor dense = x.contiguous();
  if (x.scalar_type() == at::kFloat) return dense.view(at::kInt).to(at::kLong).bitwise_and(0x7FFFFFFF);
  return dense.view(at::kShort).to(at::kLong).bitwise_and(0x7FFF);
}

template <typename T>
std::vector<T> to_host(const at::Tensor& x) {
  const at::Tensor host = x.to(at::kCPU, c10::CppTypeToScalarType<T>::value).contiguous();
  return {host.const_data_ptr<T>(), host.const_data_ptr<T>() + host.numel()};
}

/// x, and abs x with -1 in place of what is not finite; float64.
struct Finite {
  at::Tensor mask, value, magnitude;
  explicit Finite(const at::Tensor& x)
      : mask(x.isfinite()),
        value(x.to(at::kDouble)),
        magnitude(value.abs().masked_fill(mask.logical_not(), -1.0)) {}
};

/// Of the finite ones of x, any shape.
Moments moments_of(const Finite& x) {
  Moments m;
  const at::Tensor values = x.value.masked_select(x.mask);
  m.count = values.numel();
  if (m.count == 0) return m;
  m.mean = values.mean().item<double>();
  const at::Tensor d = values - m.mean, d2 = d * d;
  m.m2 = d2.sum().item<double>();
  m.m3 = (d2 * d).sum().item<double>();
  m.m4 = (d2 * d2).sum().item<double>();
  return m;
}

double abs_sum_of(const Finite& x) {
  return x.magnitude.clamp_min(0).sum().item<double>();
}

/// The largest finite values of x [B,T,C], `limit` at most.
std::vector<ActivationValue> largest_of(const at::Tensor& x, const Finite& finite, int64_t limit) {
  const int64_t T = x.size(1), C = x.size(2);
  const at::Tensor flat = finite.magnitude.flatten();
  const int64_t n = std::min<int64_t>(limit, finite.mask.sum().item<int64_t>());
  if (n == 0) return {};
  // Everything at or above the n-th value, so that ties are decided by place.
  const at::Tensor bound = std::get<0>(flat.topk(n)).min();
  const at::Tensor place = (flat >= bound).nonzero().flatten();
  // Of the ties with the n-th value only the first n can be listed.
  const at::Tensor value = finite.value.flatten().index({place});
  const at::Tensor order =
      std::get<1>(value.abs().sort(/*stable=*/true, /*dim=*/0, /*descending=*/true)).slice(0, 0, n);
  const std::vector<int64_t> places = to_host<int64_t>(place.index({order}));
  const std::vector<double> values = to_host<double>(value.index({order}));
  std::vector<ActivationValue> list;
  for (size_t i = 0; i < places.size(); ++i) {
    list.push_back({values[i], places[i] / (T * C), places[i] / C % T, places[i] % C});
  }
  return list;
}

}  // namespace

ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query) {
  const int64_t B = x.size(0);
  ActivationPartial partial;
  const Finite finite(x);
  partial.channel_max = finite.magnitude.amax({0, 1}).clamp_min(0).to(at::kCPU, at::kFloat);
  partial.token_max = finite.magnitude.amax(2).clamp_min(0).to(at::kCPU, at::kFloat);

  for (int64_t b = 0; b < B; ++b) {
    const Finite here(x[b]);
    SequencePartial sequence;
    sequence.moments = moments_of(here);
    sequence.abs_sum = abs_sum_of(here);
    sequence.nan_count = x[b].isnan().sum().item<int64_t>();
    sequence.inf_count = x[b].isinf().sum().item<int64_t>();
    const at::Tensor flat = here.magnitude.flatten();
    const std::vector<float> top =
        to_host<float>(std::get<0>(flat.topk(std::min<int64_t>(3, flat.numel()))).clamp_min(0));
    std::copy(top.begin(), top.end(), sequence.top3.begin());
    partial.sequences.push_back(sequence);
  }

  const bool wide = x.scalar_type() == at::kFloat;
  const at::Tensor keys = keys_of(x).masked_select(finite.mask);
  const at::Tensor bins = wide ? keys.bitwise_right_shift(16) : keys;
  partial.histogram = to_host<int64_t>(at::bincount(bins, {}, kBins));
  partial.zero_count = (keys == 0).sum().item<int64_t>();
  if (!query.keep.empty()) {
    const at::Tensor inside = (bins >= query.keep.first).logical_and(bins < query.keep.last);
    partial.kept.push_back(keys.masked_select(inside.logical_and(keys > 0)).to(at::kCPU, at::kInt));
  }

  const int64_t above =
      std::min<int64_t>((finite.magnitude > query.above).sum().item<int64_t>(), query.limit);
  partial.largest = largest_of(x, finite, std::max(query.top, above));
  return partial;
}

std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins) {
  const at::Tensor keys = keys_of(x).flatten();
  std::vector<std::vector<int64_t>> counts;
  for (int64_t bin : bins) {
    const at::Tensor inside = keys.masked_select(keys.bitwise_right_shift(16) == bin);
    counts.push_back(to_host<int64_t>(at::bincount(inside.bitwise_and(0xFFFF), {}, kKeysPerBin)));
  }
  return counts;
}

WeightPartial weight_partial(const at::Tensor& w) {
  WeightPartial partial;
  const Finite finite(w);
  partial.moments = moments_of(finite);
  partial.nonfinite = w.numel() - partial.moments.count;
  if (partial.moments.count > 0) {
    const at::Tensor sorted = std::get<0>(finite.magnitude.masked_select(finite.mask).sort());
    const int64_t n = sorted.numel();
    partial.median = (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
  }
  const at::Tensor magnitude = finite.magnitude.clamp_min(0);
  const auto lines = [&](int64_t along) {
    return LineSums{to_host<float>(magnitude.amax(along)), to_host<double>(magnitude.sum(along)),
                    to_host<int64_t>(finite.mask.sum(along))};
  };
  partial.rows = lines(1);
  partial.columns = lines(0);
  return partial;
}

}  // namespace outliers::stats::reference
