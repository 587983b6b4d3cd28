// AttentionAccumulator on probabilities made here, against the definitions on whole matrices.
#include "outliers/stats/attention.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"

#include "stats/inputs.h"

namespace outliers::stats {
namespace {

/// Causal probabilities [B,H,T,T] float64 with a sink at the first key and at key 5 of odd sequences.
at::Tensor probabilities(int64_t B, int64_t H, int64_t T) {
  at::Tensor logits = tests::random({B, H, T, T}, at::kFloat).to(at::kDouble);
  logits.select(3, 0).add_(3);
  for (int64_t b = 1; b < B; b += 2) logits[b].select(2, 5).add_(4);
  const at::Tensor mask = at::ones({T, T}, at::kBool).triu(1);
  return logits.masked_fill(mask, -std::numeric_limits<double>::infinity()).softmax(-1);
}

TEST(AttentionAccumulator, EqualsTheDefinitions) {
  const int64_t B = 4, H = 3, T = 40;
  const at::Tensor A = probabilities(B, H, T);
  // What is added is float32; the definitions are applied to the same numbers.
  const at::Tensor sums = A.sum(2).to(at::kFloat), rates = A.select(3, 0).mean(2).to(at::kFloat);
  AttentionAccumulator accumulator;
  accumulator.add(sums, rates, 0);
  const AttentionSummary got = accumulator.finish();

  const at::Tensor scores = sums.to(at::kDouble).mean(1);  // [B,T]
  const at::Tensor outlier = scores >= 0.1 * T;
  const at::Tensor mass = sums.to(at::kDouble).sum(at::IntArrayRef{0, 2});
  const at::Tensor outlier_mass = (sums.to(at::kDouble) * outlier.unsqueeze(1)).sum(at::IntArrayRef{0, 2});
  const at::Tensor sinks = (rates > 0.3).to(at::kDouble).mean(0);
  ASSERT_EQ(got.heads.size(), static_cast<size_t>(H));
  for (int64_t h = 0; h < H; ++h) {
    const HeadSummary& head = got.heads[static_cast<size_t>(h)];
    EXPECT_NEAR(head.outlier_share, (outlier_mass[h] / mass[h]).item<double>(), 1e-12);
    EXPECT_DOUBLE_EQ(head.sink_rate, sinks[h].item<double>());
  }
  const at::Tensor places = outlier.nonzero();
  ASSERT_GT(places.size(0), B);  // the first key everywhere, key 5 somewhere
  ASSERT_EQ(got.outlier_keys.size(), static_cast<size_t>(places.size(0)));
  for (int64_t i = 0; i < places.size(0); ++i) {
    const KeyScore& key = got.outlier_keys[static_cast<size_t>(i)];
    EXPECT_EQ(key.sequence, places[i][0].item<int64_t>());
    EXPECT_EQ(key.key, places[i][1].item<int64_t>());
    EXPECT_NEAR(key.score, scores[key.sequence][key.key].item<double>(), 1e-12 * key.score);
  }
  const at::Tensor sorted = std::get<0>(scores.flatten().sort());
  EXPECT_NEAR(got.median, ((sorted[B * T / 2 - 1] + sorted[B * T / 2]) / 2).item<double>(), 1e-13);
  ASSERT_EQ(got.top_keys.size(), 10u);
  for (int64_t i = 0; i < 10; ++i) {
    EXPECT_NEAR(got.top_keys[static_cast<size_t>(i)].score, sorted[B * T - 1 - i].item<double>(), 1e-12);
  }
  const at::Tensor top3 = std::get<0>(scores.topk(3, 1)).mean(0);
  ASSERT_EQ(got.top3_mean.size(), 3u);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(got.top3_mean[static_cast<size_t>(i)], top3[i].item<double>(), 1e-12);
  }
  EXPECT_EQ(got.nonfinite, 0);
}

TEST(AttentionAccumulator, DoesNotDependOnHowSequencesArrive) {
  const at::Tensor A = probabilities(5, 2, 30);
  const at::Tensor sums = A.sum(2).to(at::kFloat), rates = A.select(3, 0).mean(2).to(at::kFloat);
  AttentionAccumulator whole, left, right;
  whole.add(sums, rates, 10);
  right.add(sums.slice(0, 3, 5), rates.slice(0, 3, 5), 13);
  left.add(sums.slice(0, 2, 3), rates.slice(0, 2, 3), 12);
  left.merge(right);
  left.add(sums.slice(0, 0, 2), rates.slice(0, 0, 2), 10);
  const AttentionSummary a = whole.finish(), b = left.finish();
  EXPECT_EQ(a.median, b.median);
  EXPECT_EQ(a.top3_mean, b.top3_mean);
  ASSERT_EQ(a.top_keys.size(), b.top_keys.size());
  for (size_t i = 0; i < a.top_keys.size(); ++i) {
    EXPECT_EQ(a.top_keys[i].sequence, b.top_keys[i].sequence);
    EXPECT_EQ(a.top_keys[i].key, b.top_keys[i].key);
    EXPECT_EQ(a.top_keys[i].score, b.top_keys[i].score);
  }
  ASSERT_EQ(a.outlier_keys.size(), b.outlier_keys.size());
  for (size_t h = 0; h < a.heads.size(); ++h) {
    EXPECT_EQ(a.heads[h].outlier_share, b.heads[h].outlier_share);
    EXPECT_EQ(a.heads[h].sink_rate, b.heads[h].sink_rate);
  }
  EXPECT_THROW(whole.merge(left), Error);
  EXPECT_THROW(whole.add(sums, rates, 14), Error);
}

TEST(AttentionAccumulator, LeavesOutWhatIsNotFinite) {
  at::Tensor sums = at::ones({2, 2, 10});
  at::Tensor rates = at::zeros({2, 2});
  sums[0][0][3] = std::numeric_limits<float>::quiet_NaN();  // key 3 then counts by its other head
  sums[0][1][3] = 9.0F;
  sums[1].select(1, 4).fill_(std::numeric_limits<float>::infinity());
  rates[1][0] = std::numeric_limits<float>::quiet_NaN();
  rates[0][0] = 0.5F;
  AttentionAccumulator accumulator({.top = 3, .criteria = {.outlier_key_share = 0.2, .sink_epsilon = 0.3}});
  accumulator.add(sums, rates, 0);
  const AttentionSummary got = accumulator.finish();
  EXPECT_EQ(got.nonfinite, 4);
  ASSERT_EQ(got.outlier_keys.size(), 1u);
  EXPECT_EQ(got.outlier_keys[0].key, 3);
  EXPECT_EQ(got.outlier_keys[0].score, 9.0);
  EXPECT_EQ(got.top_keys.size(), 3u);
  EXPECT_EQ(got.median, 1.0);
  EXPECT_EQ(got.heads[0].sink_rate, 1.0);  // of the one sequence that has a rate
  EXPECT_EQ(got.heads[1].sink_rate, 0.0);
  EXPECT_EQ(got.heads[0].outlier_share, 0.0);
  EXPECT_DOUBLE_EQ(got.heads[1].outlier_share, 9.0 / 27.0);
}

TEST(AttentionAccumulator, HandlesTheSmallestAndNothing) {
  EXPECT_TRUE(AttentionAccumulator().finish().heads.empty());
  AttentionAccumulator accumulator;
  accumulator.add(at::ones({1, 1, 1}), at::ones({1, 1}), 0);
  const AttentionSummary got = accumulator.finish();
  EXPECT_EQ(got.top3_mean, (std::vector<double>{1.0, 0.0, 0.0}));
  EXPECT_EQ(got.median, 1.0);
  EXPECT_EQ(got.heads[0].sink_rate, 1.0);
  EXPECT_EQ(got.heads[0].outlier_share, 1.0);
  EXPECT_THROW(accumulator.add(at::ones({1, 2, 1}), at::ones({1, 2}), 1), Error);
}

}  // namespace
}  // namespace outliers::stats
