// weight_summary against the definitions in float64, written here once more.
#include "outliers/stats/weights.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"

#include "stats/inputs.h"

namespace outliers::stats {
namespace {

/// Every line by ratio, then index.
std::vector<WeightLine> lines(const at::Tensor& w, bool rows) {
  const at::Tensor m = (rows ? w : w.t()).to(at::kDouble).contiguous();
  const auto v = m.accessor<double, 2>();
  std::vector<WeightLine> list;
  for (int64_t i = 0; i < m.size(0); ++i) {
    double sum = 0, max = -1, value = 0;
    int64_t n = 0, place = 0;
    for (int64_t j = 0; j < m.size(1); ++j) {
      if (!std::isfinite(v[i][j])) continue;
      ++n;
      sum += std::abs(v[i][j]);
      if (std::abs(v[i][j]) > max) {
        max = std::abs(v[i][j]);
        value = v[i][j];
        place = j;
      }
    }
    list.push_back({i, sum > 0 ? max / (sum / static_cast<double>(n)) : 0, place, value});
  }
  return list;
}

void expect_lines(const std::vector<WeightLine>& got, const std::vector<WeightLine>& all, int64_t top) {
  ASSERT_EQ(got.size(), static_cast<size_t>(std::min<int64_t>(top, static_cast<int64_t>(all.size()))));
  std::vector<double> ratios;
  for (const WeightLine& line : all) ratios.push_back(line.ratio);
  std::sort(ratios.rbegin(), ratios.rend());
  for (size_t i = 0; i < got.size(); ++i) {
    // Lines whose ratios differ by rounding only may change places, so each is held against itself too.
    EXPECT_NEAR(got[i].ratio, ratios[i], 1e-12 * ratios[i]) << i;
    const WeightLine& wanted = all[static_cast<size_t>(got[i].index)];
    EXPECT_NEAR(got[i].ratio, wanted.ratio, 1e-12 * wanted.ratio) << i;
    EXPECT_EQ(got[i].position, wanted.position) << i;
    EXPECT_EQ(got[i].value, wanted.value) << i;
  }
}

void expect_summary(const at::Tensor& w, int64_t top) {
  const WeightSummary got = weight_summary(w, top);
  const at::Tensor value = w.to(at::kDouble).contiguous(), finite = value.isfinite();
  const at::Tensor all = value.masked_select(finite);
  EXPECT_EQ(got.nonfinite, w.numel() - all.numel());
  if (all.numel() > 0) {
    const at::Tensor sorted = std::get<0>(all.abs().sort());
    const int64_t n = all.numel();
    EXPECT_EQ(got.median, (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2);
    EXPECT_EQ(got.max, sorted[n - 1].item<double>());
    const double mean = all.abs().mean().item<double>();
    EXPECT_NEAR(got.mean, mean, 1e-13 * mean);
    const at::Tensor d = all - all.mean();
    const double variance = d.pow(2).mean().item<double>();
    const bool constant = (all == all[0]).all().item<bool>();
    const double kurtosis = constant ? 0 : d.pow(4).mean().item<double>() / (variance * variance);
    EXPECT_NEAR(got.kurtosis_pearson, kurtosis, 1e-10 * kurtosis);
  }
  const std::vector<WeightLine> rows = lines(w, true), columns = lines(w, false);
  expect_lines(got.top_rows, rows, top);
  expect_lines(got.top_columns, columns, top);
  double best_row = 0, best_column = 0;
  for (const WeightLine& line : rows) best_row = std::max(best_row, line.ratio);
  for (const WeightLine& line : columns) best_column = std::max(best_column, line.ratio);
  const double best = std::max(best_row, best_column);
  EXPECT_NEAR(got.score, best, 1e-12 * best);
  EXPECT_NEAR((got.score_is_row ? rows : columns)[static_cast<size_t>(got.score_index)].ratio, best,
              1e-12 * best);
}

TEST(WeightSummary, EqualsTheDefinitions) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const tests::Input& input : tests::inputs(dtype)) {
      SCOPED_TRACE(std::string(at::toString(dtype)) + ", " + input.name);
      for (int64_t b = 0; b < input.x.size(0); ++b) expect_summary(input.x[b], 10);
      expect_summary(input.x[0], 1);
      expect_summary(input.x[0].t(), 3);
    }
  }
}

TEST(WeightSummary, TakesTransposedMatricesOfManyRows) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor w = tests::random({24, 5000}, dtype);
    expect_summary(w.t(), 10);
    // A sample that meets no number says nothing of the median.
    at::Tensor sparse = at::full_like(w, std::numeric_limits<double>::quiet_NaN());
    sparse.narrow(1, 4000, 3).copy_(w.narrow(1, 0, 3));
    expect_summary(sparse.t(), 3);
  }
}

TEST(WeightSummary, FindsASuperWeight) {
  at::Tensor w = tests::random({300, 500}, at::kBFloat16) * 0.02;
  w[17][404] = -1.9453125;
  expect_summary(w, 5);
  const WeightSummary summary = weight_summary(w);
  EXPECT_EQ(summary.top_rows.front().index, 17);
  EXPECT_EQ(summary.top_rows.front().position, 404);
  EXPECT_EQ(summary.top_columns.front().index, 404);
  EXPECT_EQ(summary.top_columns.front().position, 17);
  EXPECT_EQ(summary.top_columns.front().value, -1.9453125);
  EXPECT_GT(summary.score, 80);
}

TEST(WeightSummary, TakesOtherFloatTypes) {
  const at::Tensor w = tests::random({20, 30}, at::kFloat);
  EXPECT_EQ(weight_summary(w.to(at::kDouble)).median, weight_summary(w).median);
  EXPECT_EQ(weight_summary(w.to(at::kFloat8_e4m3fn)).median,
            weight_summary(w.to(at::kFloat8_e4m3fn).to(at::kFloat)).median);
}

TEST(WeightSummary, RefusesWhatIsNoMatrix) {
  EXPECT_THROW(weight_summary(at::zeros({3})), Error);
  EXPECT_THROW(weight_summary(at::zeros({3, 0})), Error);
  EXPECT_THROW(weight_summary(at::zeros({3, 3}, at::kLong)), Error);
}

}  // namespace
}  // namespace outliers::stats
