// The score of a text from its windows', against the formulas written out.
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/eval/evaluation.h"

namespace outliers::eval {
namespace {

TEST(Score, OfWindowsOfOneSizeIsTheMeanAndItsStandardError) {
  const std::vector<double> means = {2.5, 3.25, 1.75, 2.0, 4.5};
  std::vector<results::WindowScore> windows;
  for (const double mean : means) windows.push_back({std::ssize(windows), 0, 8, 20, mean});
  const results::Score score = score_of(windows);
  const at::Tensor x = at::tensor(means, at::kDouble);
  EXPECT_DOUBLE_EQ(score.nll_nats, x.mean().item<double>());
  EXPECT_NEAR(*score.nll_standard_error, x.std(/*unbiased=*/true).item<double>() / std::sqrt(5.0), 1e-15);
  EXPECT_DOUBLE_EQ(score.ppl, std::exp(2.8));
  EXPECT_DOUBLE_EQ(*score.bits_per_byte, 2.8 * 8 / 20 / std::log(2.0));
}

TEST(Score, CountsTokensNotWindows) {
  const results::Score score = score_of({{0, 0, 30, 100, 2.0}, {1, 20, 10, 60, 4.0}});
  EXPECT_DOUBLE_EQ(score.nll_nats, (30 * 2.0 + 10 * 4.0) / 40);
  // S_w - nll n_w is -15 and 15.
  EXPECT_DOUBLE_EQ(*score.nll_standard_error, std::sqrt(2.0 * (15 * 15 + 15 * 15)) / 40);
  EXPECT_DOUBLE_EQ(*score.bits_per_byte, 100 / (160 * std::log(2.0)));
}

TEST(Score, OfOneWindowHasNoStandardError) {
  const results::Score score = score_of({{0, 0, 3, 0, 1.0}});
  EXPECT_FALSE(score.nll_standard_error.has_value());
  EXPECT_FALSE(score.bits_per_byte.has_value());
}

}  // namespace
}  // namespace outliers::eval
