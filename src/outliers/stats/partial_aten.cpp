// The same look by ATen operations, on whatever device the tensor lives; only what is small is copied to the
// host.
#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/stats/partial.h"

namespace outliers::stats::aten {
namespace {

// Places of `mask` [B,T,C] with their values, as the host's list.
std::vector<ActivationValue> places(const at::Tensor& x, const at::Tensor& mask) {
  const at::Tensor index = mask.nonzero();
  const at::Tensor values = x.index({index.select(1, 0), index.select(1, 1), index.select(1, 2)})
                                .to(at::kCPU, at::kFloat)
                                .contiguous();
  const at::Tensor host = index.to(at::kCPU).contiguous();
  const auto place = host.accessor<int64_t, 2>();
  std::vector<ActivationValue> list;
  list.reserve(static_cast<size_t>(host.size(0)));
  for (int64_t i = 0; i < host.size(0); ++i) {
    list.push_back({values.const_data_ptr<float>()[i], place[i][0], place[i][1], place[i][2]});
  }
  return list;
}

Ranks ranks_of_magnitudes(const at::Tensor& x, const at::Tensor& size, const at::Tensor& finite,
                          const Bracket& bracket) {
  Ranks ranks;
  ranks.below = at::logical_and(finite, size < bracket.low).sum().item<int64_t>();
  const at::Tensor inside =
      size.masked_select(at::logical_and(finite, at::logical_and(size >= bracket.low, size <= bracket.high)))
          .to(at::kCPU)
          .contiguous();
  ranks.inside.assign(inside.const_data_ptr<float>(), inside.const_data_ptr<float>() + inside.numel());
  if (std::isfinite(bracket.candidates_above))
    ranks.candidates = places(x, at::logical_and(finite, size > bracket.candidates_above));
  return ranks;
}

std::vector<double> to_vector(const at::Tensor& x) {
  const at::Tensor host = x.to(at::kCPU, at::kDouble).contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

std::vector<int64_t> to_counts(const at::Tensor& x) {
  const at::Tensor host = x.to(at::kCPU, at::kLong).contiguous();
  return {host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.numel()};
}

}  // namespace

ActivationPartial activation_partial(const at::Tensor& x, const Bracket& bracket,
                                     const std::vector<double>& shift, int64_t top) {
  const int64_t batch = x.size(0);
  const at::Tensor value = x.to(at::kFloat), finite = value.isfinite();
  const at::Tensor size = value.abs().masked_fill(finite.logical_not(), 0);
  ActivationPartial partial;
  partial.nan_count = value.isnan().sum().item<int64_t>();
  partial.inf_count = value.isinf().sum().item<int64_t>();
  partial.channel_max = size.amax({0, 1}).to(at::kCPU);
  const at::Tensor token_max = size.amax(2);
  partial.token_max = token_max.to(at::kCPU).contiguous();
  partial.ranks = ranks_of_magnitudes(value, size, finite, bracket);

  for (int64_t b = 0; b < batch; ++b) {  // a sequence at a time: float64 copies of all would double the peak
    const at::Tensor d = (value[b].to(at::kDouble) - shift[static_cast<size_t>(b)])
                             .masked_fill_(finite[b].logical_not(), 0),
                     d2 = d * d;
    const std::vector<double> sums =
        to_vector(at::stack({d.sum(), d2.sum(), (d2 * d).sum(), (d2 * d2).sum(), size[b].sum(at::kDouble),
                             finite[b].sum().to(at::kDouble)}));
    partial.sequences.push_back({static_cast<int64_t>(sums[5]), sums[0], sums[1], sums[2], sums[3], sums[4]});
    std::vector<double> largest =
        to_vector(std::get<0>(size[b].flatten().topk(std::min<int64_t>(3, size[b].numel()))));
    largest.resize(3, 0.0);
    partial.top3.insert(partial.top3.end(), largest.begin(), largest.end());
  }
  // The top values lie in the rows with the largest maxima; the k-th largest of these bounds the k-th value
  // from below.
  const int64_t k = std::min<int64_t>(top, token_max.numel());
  if (k > 0) {
    const at::Tensor bound = std::get<0>(token_max.flatten().topk(k)).min();
    const at::Tensor enough = token_max.numel() >= top ? bound : at::zeros_like(bound);
    // With ties, or all zeros, the mask could be everything: then positions in order decide, and few are
    // needed.
    partial.top = places(value, at::logical_and(finite, size >= enough));
    std::sort(partial.top.begin(), partial.top.end(), stands_before);
    if (partial.top.size() > static_cast<size_t>(top)) partial.top.resize(static_cast<size_t>(top));
  }
  return partial;
}

Ranks ranks_of(const at::Tensor& x, const Bracket& bracket) {
  const at::Tensor value = x.to(at::kFloat), finite = value.isfinite();
  return ranks_of_magnitudes(value, value.abs(), finite, bracket);
}

WeightPartial weight_partial(const at::Tensor& w, const Bracket& bracket, double shift) {
  WeightPartial partial;
  partial.all = aten::activation_partial(w.unsqueeze(0), bracket, {shift}, 0);
  const at::Tensor finite = w.isfinite();
  const at::Tensor size = w.to(at::kFloat).abs().masked_fill(finite.logical_not(), 0);
  partial.row_abs_sum = to_vector(size.sum(1, false, at::kDouble));
  partial.column_abs_sum = to_vector(size.sum(0, false, at::kDouble));
  partial.row_count = to_counts(finite.sum(1));
  partial.column_count = to_counts(finite.sum(0));
  return partial;
}

}  // namespace outliers::stats::aten
