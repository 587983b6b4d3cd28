#include "outliers/stats/weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {
namespace {

struct Lines {
  std::vector<double> ratio;
  std::vector<size_t> order;  // by ratio, the `top` first are sorted
};

Lines ratios(const at::Tensor& maxima, const std::vector<double>& sums, const std::vector<int64_t>& counts,
             int64_t top) {
  Lines lines;
  const float* max = maxima.const_data_ptr<float>();
  for (size_t i = 0; i < sums.size(); ++i) {
    lines.ratio.push_back(
        sums[i] > 0 ? static_cast<double>(max[i]) / (sums[i] / static_cast<double>(counts[i])) : 0.0);
  }
  lines.order.resize(lines.ratio.size());
  std::iota(lines.order.begin(), lines.order.end(), size_t{0});
  const auto middle =
      lines.order.begin() +
      static_cast<int64_t>(std::min(lines.order.size(), static_cast<size_t>(std::max<int64_t>(top, 1))));
  std::partial_sort(lines.order.begin(), middle, lines.order.end(), [&](size_t a, size_t b) {
    return lines.ratio[a] != lines.ratio[b] ? lines.ratio[a] > lines.ratio[b] : a < b;
  });
  return lines;
}

// The top lines with their largest entries; `across` is the dimension that runs along a line.
std::vector<WeightLine> top_lines(const at::Tensor& w, int64_t line_dimension, const Lines& lines,
                                  int64_t top) {
  const auto n = std::min<int64_t>(top, static_cast<int64_t>(lines.order.size()));
  std::vector<WeightLine> result;
  if (n == 0) return result;
  std::vector<int64_t> index(lines.order.begin(), lines.order.begin() + n);
  at::Tensor picked =
      w.index_select(line_dimension, at::tensor(index, at::kLong).to(w.device())).to(at::kCPU, at::kFloat);
  if (line_dimension == 1) picked = picked.t();
  const at::Tensor size = picked.abs();
  const at::Tensor places = size.masked_fill(size.isfinite().logical_not(), 0).argmax(1);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t place = places[i].item<int64_t>();
    result.push_back({index[static_cast<size_t>(i)],
                      lines.ratio[static_cast<size_t>(index[static_cast<size_t>(i)])], place,
                      picked[i][place].item<double>()});
  }
  return result;
}

}  // namespace

WeightPartial weight_partial(const at::Tensor& w, const Bracket& bracket, double shift) {
  return w.is_cpu() ? cpu::weight_partial(w, bracket, shift) : aten::weight_partial(w, bracket, shift);
}

WeightSummary weight_summary(const at::Tensor& w, int64_t top) {
  check_shape(w, "weight_summary", "w", {-1, -1});
  require(at::isFloatingType(w.scalar_type()), "weight_summary: w is {}, wanted a float dtype",
          at::toString(w.scalar_type()));
  WeightSummary out;
  if (w.numel() == 0) return out;
  const at::Tensor whole = w.unsqueeze(0);
  const std::vector<float> sorted = sample(whole);
  const at::Tensor first = w[w.size(0) / 2].to(at::kCPU, at::kDouble);
  const double shift = first.masked_fill(first.isfinite().logical_not(), 0).median().item<double>();
  WeightPartial partial = weight_partial(w, guess_bracket(sorted, w.numel()), shift);
  const Moments& m = partial.all.sequences.front();
  if (!holds_median(partial.all.ranks, m.count)) partial.all.ranks = ranks_of(whole, Bracket{});
  out.median = median_of(partial.all.ranks, m.count);
  out.nonfinite = partial.all.nan_count + partial.all.inf_count;
  out.mean = m.count == 0 ? 0 : m.abs_sum / static_cast<double>(m.count);
  out.max = partial.all.channel_max.max().item<double>();
  const double variance = m.variance();
  out.kurtosis_pearson = variance > 0 ? m.fourth_central() / (variance * variance) : 0;

  const Lines rows = ratios(partial.all.token_max, partial.row_abs_sum, partial.row_count, top);
  const Lines columns = ratios(partial.all.channel_max, partial.column_abs_sum, partial.column_count, top);
  const size_t row = rows.order.front(), column = columns.order.front();
  out.score_is_row = rows.ratio[row] > columns.ratio[column];
  out.score = out.score_is_row ? rows.ratio[row] : columns.ratio[column];
  out.score_index = static_cast<int64_t>(out.score_is_row ? row : column);
  out.top_rows = top_lines(w, 0, rows, top);
  out.top_columns = top_lines(w, 1, columns, top);
  return out;
}

}  // namespace outliers::stats
