#include "outliers/stats/weights.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {
namespace {

double median_of_sorted(const at::Tensor& values) {
  const at::Tensor sorted = std::get<0>(values.flatten().sort());
  return (sorted[(sorted.numel() - 1) / 2].item<double>() + sorted[sorted.numel() / 2].item<double>()) / 2;
}

void expect_definitions(const WeightSummary& s, const at::Tensor& w) {
  const at::Tensor v = w.to(at::kDouble), a = v.abs();
  EXPECT_EQ(s.max, a.max().item<double>());
  EXPECT_NEAR(s.mean / a.mean().item<double>(), 1, 1e-12);
  EXPECT_EQ(s.median, median_of_sorted(a));
  const at::Tensor d = v - v.mean();
  const double variance = d.pow(2).mean().item<double>();
  EXPECT_NEAR(s.kurtosis_pearson / (d.pow(4).mean().item<double>() / (variance * variance)), 1, 1e-9);
  const at::Tensor rows = a.amax(1) / a.mean(1), columns = a.amax(0) / a.mean(0);
  const double row = rows.max().item<double>(), column = columns.max().item<double>();
  EXPECT_NEAR(s.score / std::max(row, column), 1, 1e-12);
  EXPECT_EQ(s.score_is_row, row > column);
  EXPECT_EQ(s.score_index, (row > column ? rows : columns).argmax().item<int64_t>());
  for (const auto& [lines, ratios, dimension] :
       {std::tuple{s.top_rows, rows, 0}, {s.top_columns, columns, 1}}) {
    const auto sorted = ratios.sort(/*stable=*/true, -1, true);
    ASSERT_EQ(static_cast<int64_t>(lines.size()), std::min<int64_t>(10, ratios.numel()));
    for (size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(lines[i].index, std::get<1>(sorted)[static_cast<int64_t>(i)].item<int64_t>());
      EXPECT_NEAR(lines[i].ratio / std::get<0>(sorted)[static_cast<int64_t>(i)].item<double>(), 1, 1e-12);
      const at::Tensor line = v.select(dimension, lines[i].index);
      EXPECT_EQ(lines[i].position, line.abs().argmax().item<int64_t>());
      EXPECT_EQ(lines[i].value, line[lines[i].position].item<double>());
    }
  }
}

class Weights : public testing::TestWithParam<at::ScalarType> {};

TEST_P(Weights, FollowTheDefinitions) {
  at::manual_seed(2);
  for (const auto& [r, c] : {std::pair{1, 5}, {7, 3}, {64, 48}, {300, 129}, {100, 700}}) {
    at::Tensor w = at::randn({r, c}) * 0.02;
    if (r > 10) w[5][2] = -3.0;
    const at::Tensor stored = w.to(GetParam());
    expect_definitions(weight_summary(stored), stored);
    expect_definitions(weight_summary(stored.t()), stored.t());
  }
}

TEST_P(Weights, BackendsAgree) {
  at::manual_seed(3);
  const at::Tensor w = (at::randn({120, 333}) * 0.02).to(GetParam());
  const Bracket bracket = guess_bracket(sample(w.unsqueeze(0)), w.numel());
  const WeightPartial a = cpu::weight_partial(w, bracket, 0), b = aten::weight_partial(w, bracket, 0);
  EXPECT_EQ(a.all.ranks.below, b.all.ranks.below);
  EXPECT_EQ(a.row_count, b.row_count);
  EXPECT_EQ(a.column_count, b.column_count);
  for (size_t i = 0; i < a.row_abs_sum.size(); ++i)
    EXPECT_NEAR(a.row_abs_sum[i] / b.row_abs_sum[i], 1, 1e-12);
  for (size_t i = 0; i < a.column_abs_sum.size(); ++i)
    EXPECT_NEAR(a.column_abs_sum[i] / b.column_abs_sum[i], 1, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, Weights, testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& test) { return std::string(at::toString(test.param)); });

TEST(WeightSummary, ZerosAndNonfinite) {
  const WeightSummary zeros = weight_summary(at::zeros({4, 6}));
  EXPECT_EQ(zeros.score, 0);
  EXPECT_EQ(zeros.kurtosis_pearson, 0);
  at::Tensor w = at::ones({4, 6});
  w[1][2] = NAN;
  w[2][2] = INFINITY;
  w[0][5] = 7.0;
  const WeightSummary s = weight_summary(w);
  EXPECT_EQ(s.nonfinite, 2);
  EXPECT_EQ(s.max, 7);
  EXPECT_EQ(s.median, 1);
  EXPECT_EQ(s.top_rows[0].index, 0);
  EXPECT_DOUBLE_EQ(s.top_rows[0].ratio, 7.0 / (12.0 / 6));
  EXPECT_DOUBLE_EQ(s.top_columns[0].ratio, 7.0 / (10.0 / 4));
  EXPECT_EQ(s.top_columns[0].position, 0);
  EXPECT_THROW(weight_summary(at::zeros({3})), Error);
  EXPECT_THROW(weight_summary(at::zeros({3, 3}, at::kInt)), Error);
}

}  // namespace
}  // namespace outliers::stats
