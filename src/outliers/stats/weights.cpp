#include "outliers/stats/weights.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/core/shape.h"
#include "outliers/stats/error.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {
namespace {

/// The `top` lines with the largest max/mean, first line first among equals. Lines run along dimension
/// `along`.
std::vector<WeightLine> top_lines(const at::Tensor& w, int64_t along, const LineSums& sums, int64_t top) {
  const size_t lines = sums.max.size();
  std::vector<double> ratio(lines, 0.0);  // of a line of zeros: 0
  for (size_t i = 0; i < lines; ++i) {
    if (sums.abs_sum[i] <= 0) continue;
    ratio[i] = static_cast<double>(sums.max[i]) * static_cast<double>(sums.count[i]) / sums.abs_sum[i];
  }
  std::vector<int64_t> order(std::min(lines, static_cast<size_t>(top)));
  std::vector<int64_t> all(lines);
  std::iota(all.begin(), all.end(), int64_t{0});
  std::partial_sort_copy(all.begin(), all.end(), order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const double left = ratio[static_cast<size_t>(a)], right = ratio[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  });
  if (order.empty()) return {};

  // Only the listed lines are looked at again for the place of their largest entry.
  at::Tensor values = w.index_select(1 - along, at::tensor(order, at::kLong).to(w.device()));
  values = values.to(at::kCPU, at::kFloat);
  if (along == 0) values = values.t();
  const at::Tensor place = values.abs().masked_fill(values.isfinite().logical_not(), -1).argmax(1);
  const at::Tensor largest = values.gather(1, place.unsqueeze(1));
  std::vector<WeightLine> list;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const bool any = sums.count[static_cast<size_t>(order[i])] > 0;
    list.push_back({order[i], ratio[static_cast<size_t>(order[i])], any ? place[row].item<int64_t>() : 0,
                    any ? largest[row][0].item<double>() : 0.0});
  }
  return list;
}

}  // namespace

void WeightSummary::save(ByteWriter& out) const {
  for (const double number : {score, max, mean, median, kurtosis_pearson}) out.put(number);
  out.put(score_is_row);
  for (const int64_t number : {score_index, nonfinite}) out.put(number);
  for (const std::vector<WeightLine>* lines : {&top_columns, &top_rows}) out.put(*lines);
}

WeightSummary WeightSummary::load(ByteReader& in) {
  WeightSummary s;
  for (double* number : {&s.score, &s.max, &s.mean, &s.median, &s.kurtosis_pearson})
    *number = in.get<double>();
  s.score_is_row = in.get<bool>();
  for (int64_t* number : {&s.score_index, &s.nonfinite}) *number = in.get<int64_t>();
  for (std::vector<WeightLine>* lines : {&s.top_columns, &s.top_rows}) *lines = in.get_vector<WeightLine>();
  return s;
}

WeightSummary weight_summary(const at::Tensor& tensor, int64_t top) {
  constexpr const char* kHere = "weight_summary";
  check_shape(tensor, kHere, "w", {-1, -1});
  require(tensor.numel() > 0, "{}: w has shape {}, wanted rows and columns", kHere,
          shape_string(tensor.sizes()));
  require(at::isFloatingType(tensor.scalar_type()), "{}: w is {}, wanted a float dtype", kHere,
          at::toString(tensor.scalar_type()));
  at::Tensor w = tensor.detach();
  if (w.scalar_type() != at::kHalf && w.scalar_type() != at::kBFloat16) w = w.to(at::kFloat);

  const WeightPartial partial = weight_partial(w);
  WeightSummary out;
  out.nonfinite = partial.nonfinite;
  out.median = partial.median;
  const Moments& m = partial.moments;
  const double n = static_cast<double>(m.count);
  if (m.count > 0) {
    out.mean = std::accumulate(partial.rows.abs_sum.begin(), partial.rows.abs_sum.end(), 0.0) / n;
    out.max = static_cast<double>(*std::max_element(partial.rows.max.begin(), partial.rows.max.end()));
  }
  if (m.m2 > 0) out.kurtosis_pearson = (m.m4 / n) / (m.m2 / n * (m.m2 / n));

  const int64_t wanted = std::max<int64_t>(top, 1);
  out.top_columns = top_lines(w, 0, partial.columns, wanted);
  out.top_rows = top_lines(w, 1, partial.rows, wanted);
  out.score_is_row = out.top_rows.front().ratio > out.top_columns.front().ratio;
  const WeightLine& best = out.score_is_row ? out.top_rows.front() : out.top_columns.front();
  out.score = best.ratio;
  out.score_index = best.index;
  if (top <= 0) {
    out.top_columns.clear();
    out.top_rows.clear();
  }
  return out;
}

}  // namespace outliers::stats
