// ActivationAccumulator against sorts and sums in float64, written here once more from the definitions.
#include "outliers/stats/activations.h"

#include <cmath>
#include <optional>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"

#include "stats/inputs.h"

namespace outliers::stats {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

double middle(const at::Tensor& values) {
  if (values.numel() == 0) return 0;
  const at::Tensor sorted = std::get<0>(values.sort());
  const int64_t n = sorted.numel();
  return (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
}

/// The definitions on all sequences [N,T,C] at once.
ActivationSummary expected(const at::Tensor& x, const ActivationOptions& options) {
  ActivationSummary out;
  const at::Tensor value = x.to(at::kDouble).contiguous();
  const at::Tensor finite = value.isfinite();
  out.count = finite.sum().item<int64_t>();
  out.nan_count = value.isnan().sum().item<int64_t>();
  out.inf_count = value.isinf().sum().item<int64_t>();
  const at::Tensor all = value.masked_select(finite).abs();
  out.channel_max = value.abs().where(finite, 0.0).amax({0, 1}).to(at::kFloat);
  out.token_max = value.abs().where(finite, 0.0).amax(2).to(at::kFloat);
  out.median = middle(all);
  if (out.count > 0) {
    out.max = all.max().item<double>();
    out.mean = all.mean().item<double>();
  }
  std::vector<double> kurtosis, top3[3];
  for (int64_t s = 0; s < x.size(0); ++s) {
    const at::Tensor v = value[s].masked_select(finite[s]);
    if (v.numel() == 0) continue;
    const at::Tensor d = v - v.mean();
    const double variance = d.pow(2).mean().item<double>();
    kurtosis.push_back(d.pow(4).mean().item<double>() / (variance * variance + 1e-6));
    const at::Tensor sorted = std::get<0>(v.abs().sort(0, /*descending=*/true));
    for (int64_t i = 0; i < std::min<int64_t>(3, v.numel()); ++i) top3[i].push_back(sorted[i].item<double>());
  }
  const auto mean = [](const std::vector<double>& list) {
    double sum = 0;
    for (double v : list) sum += v;
    return list.empty() ? 0 : sum / static_cast<double>(list.size());
  };
  out.kurtosis_pearson = mean(kurtosis);
  out.infinity_norm = mean(top3[0]);
  for (const auto& list : top3) {
    out.top3_mean.push_back(mean(list));
  }
  const double threshold = std::max(100.0, 1000.0 * out.median);
  std::vector<ActivationValue> places;
  const auto v = value.accessor<double, 3>();
  for (int64_t s = 0; s < value.size(0); ++s) {
    for (int64_t t = 0; t < value.size(1); ++t) {
      for (int64_t c = 0; c < value.size(2); ++c) {
        if (std::isfinite(v[s][t][c])) places.push_back({v[s][t][c], s, t, c});
      }
    }
  }
  // Stable: ties stay in the order of places.
  std::stable_sort(places.begin(), places.end(), [](const ActivationValue& a, const ActivationValue& b) {
    return std::abs(a.value) > std::abs(b.value);
  });
  for (const ActivationValue& place : places) {
    if (static_cast<int64_t>(out.top.size()) < options.top) out.top.push_back(place);
    if (std::abs(place.value) > threshold) {
      ++out.massive_count;
      if (static_cast<int64_t>(out.massive.size()) < options.massive_limit) out.massive.push_back(place);
    }
  }
  const at::Tensor order = std::get<1>(out.channel_max.sort(/*stable=*/true, 0, /*descending=*/true));
  for (int64_t i = 0; i < std::min(options.top, order.numel()); ++i) {
    const int64_t channel = order[i].item<int64_t>();
    out.top_channels.push_back({channel, out.channel_max[channel].item<double>()});
  }
  return out;
}

void expect_near(double got, double wanted, double relative, const char* what) {
  EXPECT_LE(std::abs(got - wanted), relative * std::abs(wanted))
      << what << ": " << got << ", wanted " << wanted;
}

void expect_same(const std::vector<ActivationValue>& got, const std::vector<ActivationValue>& wanted,
                 const char* what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].value, wanted[i].value) << what << " " << i;
    EXPECT_EQ(got[i].sequence, wanted[i].sequence) << what << " " << i;
    EXPECT_EQ(got[i].token, wanted[i].token) << what << " " << i;
    EXPECT_EQ(got[i].channel, wanted[i].channel) << what << " " << i;
  }
}

/// Counts, places, maxima and medians exactly; sums to `sums`, kurtosis to `moments`.
void expect_same(const ActivationSummary& got, const ActivationSummary& wanted, double sums, double moments) {
  EXPECT_EQ(got.count, wanted.count);
  EXPECT_EQ(got.nan_count, wanted.nan_count);
  EXPECT_EQ(got.inf_count, wanted.inf_count);
  EXPECT_EQ(got.max, wanted.max);
  EXPECT_EQ(got.median, wanted.median);
  EXPECT_EQ(got.massive_count, wanted.massive_count);
  expect_near(got.mean, wanted.mean, sums, "mean");
  expect_near(got.infinity_norm, wanted.infinity_norm, sums, "infinity norm");
  expect_near(got.kurtosis_pearson, wanted.kurtosis_pearson, moments, "kurtosis");
  ASSERT_EQ(got.top3_mean.size(), wanted.top3_mean.size());
  for (size_t i = 0; i < got.top3_mean.size(); ++i) {
    expect_near(got.top3_mean[i], wanted.top3_mean[i], sums, "top3_mean");
  }
  expect_same(got.top, wanted.top, "top");
  expect_same(got.massive, wanted.massive, "massive");
  ASSERT_EQ(got.top_channels.size(), wanted.top_channels.size());
  for (size_t i = 0; i < got.top_channels.size(); ++i) {
    EXPECT_EQ(got.top_channels[i].channel, wanted.top_channels[i].channel);
    EXPECT_EQ(got.top_channels[i].max, wanted.top_channels[i].max);
  }
  EXPECT_TRUE(got.channel_max.equal(wanted.channel_max));
  EXPECT_TRUE(got.token_max.equal(wanted.token_max));
}

/// One call for all, refined where asked for.
ActivationSummary summary(const at::Tensor& x, const ActivationOptions& options = {}) {
  ActivationAccumulator accumulator(options);
  accumulator.add(x, 0);
  if (accumulator.needs_refinement()) accumulator.refine(x, 0);
  EXPECT_FALSE(accumulator.needs_refinement());
  return accumulator.finish();
}

TEST(ActivationAccumulator, EqualsTheDefinitions) {
  for (at::ScalarType dtype : kDtypes) {
    for (const tests::Input& input : tests::inputs(dtype)) {
      SCOPED_TRACE(std::string(at::toString(dtype)) + ", " + input.name);
      expect_same(summary(input.x), expected(input.x, {}), 1e-13, 1e-10);
    }
  }
}

TEST(ActivationAccumulator, TakesFloat64AsFloat32) {
  const at::Tensor x = tests::random({2, 20, 30}, at::kFloat).to(at::kDouble) * (1.0 / 3);
  expect_same(summary(x), expected(x.to(at::kFloat), {}), 1e-13, 1e-10);
}

TEST(ActivationAccumulator, DoesNotDependOnHowSequencesArrive) {
  for (at::ScalarType dtype : kDtypes) {
    SCOPED_TRACE(at::toString(dtype));
    at::Tensor x = tests::random({6, 24, 700}, dtype) * 3;
    x[4][3][20] = 30000.0;
    x[1][0][699] = -30000.0;
    x[5][2][3] = std::numeric_limits<double>::quiet_NaN();
    const ActivationSummary whole = summary(x);

    ActivationAccumulator single;  // one at a time, backwards
    for (int64_t s = 5; s >= 0; --s) single.add(x.slice(0, s, s + 1), s);
    ActivationAccumulator left, right, empty;
    left.add(x.slice(0, 4, 6), 4);
    left.add(x.slice(0, 0, 1), 0);
    right.add(x.slice(0, 1, 4), 1);
    left.merge(right);
    left.merge(empty);
    empty.merge(left);
    for (ActivationAccumulator* accumulator : {&single, &left, &empty}) {
      if (accumulator->needs_refinement()) {
        accumulator->refine(x.slice(0, 3, 6), 3);
        accumulator->refine(x.slice(0, 0, 3), 0);
      }
      expect_same(accumulator->finish(), whole, 1e-12, 1e-11);
    }
  }
}

TEST(ActivationAccumulator, RefinesWhereTheFirstTensorMisleads) {
  // The first sequence says the median is near 1, all of them that it is near 50.
  at::Tensor x = tests::random({5, 40, 500}, at::kFloat);
  x.slice(0, 1, 5).mul_(100);
  ActivationAccumulator accumulator;
  for (int64_t s = 0; s < 5; ++s) accumulator.add(x.slice(0, s, s + 1), s);
  ASSERT_TRUE(accumulator.needs_refinement());
  EXPECT_THROW(accumulator.finish(), Error);
  for (int64_t s = 0; s < 5; ++s) {
    EXPECT_THROW(accumulator.finish(), Error);
    accumulator.refine(x.slice(0, s, s + 1), s);
  }
  EXPECT_FALSE(accumulator.needs_refinement());
  expect_same(accumulator.finish(), expected(x, {}), 1e-12, 1e-10);
}

TEST(ActivationAccumulator, RefinesOverManyEqualMediansOfTwoSides) {
  // The two sides guess ranges that have nothing in common.
  const at::Tensor x =
      at::cat({tests::random({1, 40, 500}, at::kFloat), tests::random({1, 40, 500}, at::kFloat, 3) * 64});
  ActivationAccumulator left, right;
  left.add(x.slice(0, 0, 1), 0);
  right.add(x.slice(0, 1, 2), 1);
  left.merge(right);
  ASSERT_TRUE(left.needs_refinement());
  left.refine(x, 0);
  expect_same(left.finish(), expected(x, {}), 1e-12, 1e-10);
}

TEST(ActivationAccumulator, CountsMoreMassiveActivationsThanItLists) {
  for (at::ScalarType dtype : kDtypes) {
    SCOPED_TRACE(at::toString(dtype));
    at::Tensor x = tests::random({2, 300, 60}, dtype) * 0.1;
    x.slice(2, 0, 9).mul_(20000);  // 5400 values, most above the threshold
    ActivationOptions options;
    options.massive_limit = 25;
    const ActivationSummary wanted = expected(x, options);
    ASSERT_GT(wanted.massive_count, 4096);
    expect_same(summary(x, options), wanted, 1e-12, 1e-10);
    options.massive_limit = 10000;
    expect_same(summary(x, options), expected(x, options), 1e-12, 1e-10);
    options.massive_limit = 0;
    options.top = 0;
    expect_same(summary(x, options), expected(x, options), 1e-12, 1e-10);
  }
}

TEST(ActivationAccumulator, IsEmptyBeforeTheFirstTensor) {
  ActivationAccumulator accumulator;
  EXPECT_FALSE(accumulator.needs_refinement());
  const ActivationSummary summary = accumulator.finish();
  EXPECT_EQ(summary.count, 0);
  EXPECT_TRUE(summary.top.empty());
}

TEST(ActivationAccumulator, RefusesWhatItCannotAddUp) {
  ActivationAccumulator accumulator;
  const at::Tensor x = tests::random({2, 4, 8}, at::kFloat);
  EXPECT_THROW(accumulator.add(x[0], 0), Error);
  EXPECT_THROW(accumulator.add(x.to(at::kLong), 0), Error);
  EXPECT_THROW(accumulator.add(x.slice(2, 0, 0), 0), Error);
  EXPECT_THROW(accumulator.refine(x, 0), Error);
  accumulator.add(x, 0);
  EXPECT_THROW(accumulator.add(x, 1), Error);                 // sequence 1 again
  EXPECT_THROW(accumulator.add(x.slice(2, 0, 4), 2), Error);  // other C
  EXPECT_THROW(accumulator.add(x.slice(1, 0, 2), 2), Error);  // other T
  EXPECT_THROW(accumulator.add(x.to(at::kHalf), 2), Error);   // other dtype
  EXPECT_THROW(accumulator.refine(x, 1), Error);              // sequence 2 was never added
  ActivationAccumulator other;
  other.add(x.slice(0, 0, 1), 1);
  EXPECT_THROW(accumulator.merge(other), Error);
  EXPECT_EQ(accumulator.finish().count, 64);  // refused calls left nothing behind
}

}  // namespace
}  // namespace outliers::stats
