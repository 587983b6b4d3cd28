#include "outliers/stats/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"

namespace outliers::stats {
namespace {

// Causal probabilities with a sink at key 0, and their sums by the definitions.
struct Example {
  at::Tensor probs = [] {
    at::manual_seed(4);
    at::Tensor logits = at::randn({3, 4, 50, 50});
    logits.select(3, 0).add_(4.0);
    return at::softmax(logits.masked_fill(at::ones({50, 50}, at::kBool).triu(1), -INFINITY), -1);
  }();
  at::Tensor sums = probs.sum(2), rates = probs.select(3, 0).mean(2);
};

TEST(AttentionAccumulator, FollowsTheDefinitions) {
  const Example e;
  AttentionAccumulator accumulator;
  accumulator.add(e.sums.narrow(0, 1, 2), e.rates.narrow(0, 1, 2), 1);
  accumulator.add(e.sums.narrow(0, 0, 1), e.rates.narrow(0, 0, 1), 0);
  const AttentionSummary s = accumulator.finish();
  const at::Tensor scores = e.probs.to(at::kDouble).mean(1).sum(1);  // [3,50]
  const auto sorted = scores.flatten().sort(/*stable=*/true, -1, true);
  for (int64_t i = 0; i < 10; ++i) {
    const int64_t place = std::get<1>(sorted)[i].item<int64_t>();
    EXPECT_EQ(s.top_keys[static_cast<size_t>(i)].sequence * 50 + s.top_keys[static_cast<size_t>(i)].key,
              place);
    EXPECT_NEAR(s.top_keys[static_cast<size_t>(i)].score, std::get<0>(sorted)[i].item<double>(), 1e-4);
  }
  EXPECT_NEAR(s.median, (std::get<0>(sorted)[74] + std::get<0>(sorted)[75]).item<double>() / 2, 1e-5);
  EXPECT_EQ(static_cast<int64_t>(s.outlier_keys.size()), (scores >= 5.0).sum().item<int64_t>());
  for (const KeyScore& key : s.outlier_keys)
    EXPECT_GE(scores[key.sequence][key.key].item<double>(), 5.0 - 1e-4);
  const at::Tensor mask = (scores >= 5.0).unsqueeze(1);  // [3,1,50]
  const at::Tensor share = e.sums.to(at::kDouble).mul(mask).sum({0, 2}) / e.sums.to(at::kDouble).sum({0, 2});
  const at::Tensor sink = e.rates.gt(0.3).to(at::kDouble).mean(0);
  ASSERT_EQ(s.heads.size(), 4u);
  for (int64_t h = 0; h < 4; ++h) {
    EXPECT_NEAR(s.heads[static_cast<size_t>(h)].outlier_share, share[h].item<double>(), 1e-6);
    EXPECT_NEAR(s.heads[static_cast<size_t>(h)].sink_rate, sink[h].item<double>(), 1e-12);
  }
  const at::Tensor top3 = std::get<0>(scores.topk(3, 1)).mean(0);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_NEAR(s.top3_mean[static_cast<size_t>(i)], top3[i].item<double>(), 1e-4);
  EXPECT_EQ(s.nonfinite, 0);
}

TEST(AttentionAccumulator, MergeEqualsOne) {
  const Example e;
  AttentionAccumulator whole, left, right;
  whole.add(e.sums, e.rates, 0);
  left.add(e.sums.narrow(0, 2, 1), e.rates.narrow(0, 2, 1), 2);
  right.add(e.sums.narrow(0, 0, 2), e.rates.narrow(0, 0, 2), 0);
  left.merge(right);
  const AttentionSummary a = whole.finish(), b = left.finish();
  EXPECT_EQ(a.median, b.median);
  EXPECT_EQ(a.outlier_keys.size(), b.outlier_keys.size());
  for (size_t h = 0; h < a.heads.size(); ++h) EXPECT_EQ(a.heads[h].outlier_share, b.heads[h].outlier_share);
  EXPECT_THROW(left.merge(right), Error);
}

TEST(AttentionAccumulator, NonfiniteAndEmpty) {
  EXPECT_TRUE(AttentionAccumulator().finish().heads.empty());
  at::Tensor sums = at::ones({1, 2, 4});
  sums[0][1][3] = NAN;
  AttentionAccumulator accumulator;
  accumulator.add(sums, at::full({1, 2}, 0.5), 0);
  const AttentionSummary s = accumulator.finish();
  EXPECT_EQ(s.nonfinite, 1);
  EXPECT_EQ(s.heads[0].sink_rate, 1.0);
  EXPECT_DOUBLE_EQ(s.top_keys[0].score, 1.0);
  EXPECT_THROW(accumulator.add(at::ones({1, 3, 4}), at::ones({1, 3}), 1), Error);
}

}  // namespace
}  // namespace outliers::stats
