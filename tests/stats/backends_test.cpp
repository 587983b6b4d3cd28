// The CPU's pass against the reference in ATen operations, partial by partial; and that threads change
// nothing.
#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "outliers/stats/keys.h"
#include "outliers/stats/partial.h"
#include "outliers/stats/weights.h"

#include "stats/inputs.h"

namespace outliers::stats {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

void expect_near(double got, double wanted, double tolerance) {
  EXPECT_LE(std::abs(got - wanted), tolerance) << got << ", wanted " << wanted;
}

void expect_same(const Moments& got, const Moments& wanted) {
  EXPECT_EQ(got.count, wanted.count);
  if (wanted.count == 0) return;
  // A mean, and sums of odd powers, may cancel: held against the size of what is summed.
  const double n = static_cast<double>(wanted.count), deviation = std::sqrt(wanted.m2 / n);
  expect_near(got.mean, wanted.mean, 1e-14 * (std::abs(wanted.mean) + deviation));
  expect_near(got.m2, wanted.m2, 1e-11 * wanted.m2 + 1e-24 * n * wanted.mean * wanted.mean);
  const double fourth = 1e-11 * wanted.m4 + 1e-48 * n * std::pow(wanted.mean, 4);
  expect_near(got.m3, wanted.m3, 1e-11 * std::sqrt(wanted.m2 * wanted.m4) + fourth);
  expect_near(got.m4, wanted.m4, fourth);
}

std::vector<uint32_t> sorted(const std::vector<at::Tensor>& parts) {
  std::vector<uint32_t> keys;
  for (const at::Tensor& part : parts) keys.insert(keys.end(), KeySpan(part).begin(), KeySpan(part).end());
  std::sort(keys.begin(), keys.end());
  return keys;
}

TEST(Backends, AgreeOnActivations) {
  for (at::ScalarType dtype : kDtypes) {
    for (const tests::Input& input : tests::inputs(dtype)) {
      SCOPED_TRACE(std::string(at::toString(dtype)) + ", " + input.name);
      ActivationQuery query;
      query.top = 5;
      query.limit = 7;
      query.above = 1.5;
      if (dtype == at::kFloat) query.keep = {float_bin(0.25F), float_bin(0.75F)};
      const ActivationPartial got = cpu::activation_partial(input.x, query);
      const ActivationPartial wanted = reference::activation_partial(input.x, query);
      EXPECT_TRUE(got.channel_max.equal(wanted.channel_max));
      EXPECT_TRUE(got.token_max.equal(wanted.token_max));
      EXPECT_EQ(got.histogram, wanted.histogram);
      EXPECT_EQ(got.zero_count, wanted.zero_count);
      EXPECT_EQ(sorted(got.kept), sorted(wanted.kept));
      ASSERT_EQ(got.largest.size(), wanted.largest.size());
      for (size_t i = 0; i < got.largest.size(); ++i) {
        EXPECT_FALSE(stands_before(got.largest[i], wanted.largest[i]));
        EXPECT_FALSE(stands_before(wanted.largest[i], got.largest[i]));
        EXPECT_EQ(got.largest[i].value, wanted.largest[i].value);
      }
      ASSERT_EQ(got.sequences.size(), wanted.sequences.size());
      for (size_t b = 0; b < got.sequences.size(); ++b) {
        const SequencePartial &g = got.sequences[b], &w = wanted.sequences[b];
        expect_same(g.moments, w.moments);
        expect_near(g.abs_sum, w.abs_sum, 1e-13 * w.abs_sum);
        EXPECT_EQ(g.top3, w.top3);
        EXPECT_EQ(g.nan_count, w.nan_count);
        EXPECT_EQ(g.inf_count, w.inf_count);
      }
      if (dtype != at::kFloat) continue;
      const std::vector<int64_t> bins = {0, float_bin(0.5F), float_bin(1.0F), 0x7F7F};
      EXPECT_EQ(cpu::key_counts(input.x, bins), reference::key_counts(input.x, bins));
    }
  }
}

TEST(Backends, AgreeOnWeights) {
  for (at::ScalarType dtype : kDtypes) {
    for (const tests::Input& input : tests::inputs(dtype)) {
      SCOPED_TRACE(std::string(at::toString(dtype)) + ", " + input.name);
      const at::Tensor w = input.x[0];
      const WeightPartial got = cpu::weight_partial(w), wanted = reference::weight_partial(w);
      expect_same(got.moments, wanted.moments);
      EXPECT_EQ(got.median, wanted.median);
      EXPECT_EQ(got.nonfinite, wanted.nonfinite);
      for (const auto& [g, r] : {std::pair{&got.rows, &wanted.rows}, {&got.columns, &wanted.columns}}) {
        EXPECT_EQ(g->max, r->max);
        EXPECT_EQ(g->count, r->count);
        ASSERT_EQ(g->abs_sum.size(), r->abs_sum.size());
        for (size_t i = 0; i < g->abs_sum.size(); ++i) {
          expect_near(g->abs_sum[i], r->abs_sum[i], 1e-13 * r->abs_sum[i]);
        }
      }
    }
  }
}

// A sample of every 64th value or so sees none of the rest, so the bracket of the median misses.
TEST(Backends, FindTheMedianThatTheSampleMisses) {
  at::Tensor w = at::rand({512, 1024}) + 8;
  const int64_t distance = std::max<int64_t>(1, w.numel() / (w.numel() / 64));
  at::Tensor flat = w.flatten();
  for (int64_t i = 0; i < w.numel() / distance; ++i) flat[i * distance + i * 7919 % distance] = 0.5;
  const std::optional<MedianGuess> guess = guess_median(w, 4);
  ASSERT_TRUE(guess.has_value());
  ASSERT_EQ(guess->high, 0.5F);  // or the test tests nothing
  EXPECT_EQ(cpu::weight_partial(w).median, reference::weight_partial(w).median);
}

TEST(Backends, GiveTheSameOnAnyNumberOfThreads) {
  const at::Tensor x = tests::random({3, 200, 500}, at::kFloat);
  const int threads = at::get_num_threads();
  std::vector<ActivationSummary> summaries;
  std::vector<WeightSummary> weights;
  for (int n : {1, 3}) {
    at::set_num_threads(n);
    ActivationAccumulator accumulator;
    accumulator.add(x, 0);
    summaries.push_back(accumulator.finish());
    weights.push_back(weight_summary(x.flatten(0, 1)));
  }
  at::set_num_threads(threads);
  EXPECT_EQ(summaries[0].mean, summaries[1].mean);
  EXPECT_EQ(summaries[0].median, summaries[1].median);
  EXPECT_EQ(summaries[0].kurtosis_pearson, summaries[1].kurtosis_pearson);
  EXPECT_EQ(weights[0].kurtosis_pearson, weights[1].kurtosis_pearson);
  EXPECT_EQ(weights[0].score, weights[1].score);
  EXPECT_EQ(weights[0].median, weights[1].median);
}

}  // namespace
}  // namespace outliers::stats
