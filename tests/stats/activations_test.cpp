// Against the definitions in float64, written with plain ATen operations and no code of the accumulators.
#include "outliers/stats/activations.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/error.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {
namespace {

using testing::HasSubstr;

double median_of_sorted(const at::Tensor& values) {
  const at::Tensor sorted = std::get<0>(values.flatten().sort());
  const int64_t n = sorted.numel();
  return (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
}

void expect_relative(double got, double wanted, double tolerance, const char* what) {
  EXPECT_LE(std::abs(got - wanted), tolerance * std::max(std::abs(wanted), 1e-30))
      << what << ": " << got << ", wanted " << wanted;
}

// `x` is what was shown, all sequences in order.
void expect_definitions(const ActivationSummary& s, const at::Tensor& x,
                        const ActivationOptions& options = {}) {
  const at::Tensor v = x.to(at::kDouble), a = v.abs();
  EXPECT_EQ(s.count, x.numel());
  EXPECT_EQ(s.max, a.max().item<double>());
  EXPECT_EQ(s.median, median_of_sorted(a));
  expect_relative(s.mean, a.mean().item<double>(), 1e-12, "mean");
  double kurtosis = 0, infinity = 0;
  std::vector<double> top3(3, 0.0);
  const double n = static_cast<double>(x.size(0));
  for (int64_t b = 0; b < x.size(0); ++b) {
    const at::Tensor d = v[b] - v[b].mean();
    const double variance = d.pow(2).mean().item<double>();
    kurtosis += d.pow(4).mean().item<double>() / (variance * variance + 1e-6) / n;
    const at::Tensor sorted = std::get<0>(a[b].flatten().sort(-1, true));
    infinity += sorted[0].item<double>() / n;
    for (int64_t i = 0; i < std::min<int64_t>(3, sorted.numel()); ++i)
      top3[static_cast<size_t>(i)] += sorted[i].item<double>() / n;
  }
  EXPECT_LE(std::abs(s.kurtosis_pearson - kurtosis), 1e-9 * std::max(kurtosis, 1.0))
      << s.kurtosis_pearson << " " << kurtosis;
  expect_relative(s.infinity_norm, infinity, 1e-12, "infinity_norm");
  for (size_t i = 0; i < 3; ++i) expect_relative(s.top3_mean[i], top3[i], 1e-12, "top3_mean");
  EXPECT_TRUE(at::equal(s.channel_max.to(at::kDouble), a.amax({0, 1})));
  EXPECT_TRUE(at::equal(s.token_max.to(at::kDouble), a.amax(2)));

  const auto order = std::get<1>(a.flatten().sort(/*stable=*/true, -1, true));
  ASSERT_EQ(static_cast<int64_t>(s.top.size()), std::min(options.top, x.numel()));
  for (size_t i = 0; i < s.top.size(); ++i) {
    const int64_t place = order[static_cast<int64_t>(i)].item<int64_t>(), c = x.size(2), t = x.size(1);
    EXPECT_EQ(s.top[i].sequence, place / (c * t)) << i;
    EXPECT_EQ(s.top[i].token, place / c % t) << i;
    EXPECT_EQ(s.top[i].channel, place % c) << i;
    EXPECT_EQ(s.top[i].value, v.flatten()[place].item<double>()) << i;
  }
  const double threshold = std::max(options.massive_above, options.massive_ratio * median_of_sorted(a));
  const at::Tensor massive = std::get<0>(a.masked_select(a > threshold).sort(-1, true));
  EXPECT_EQ(s.massive_count, massive.numel());
  ASSERT_EQ(static_cast<int64_t>(s.massive.size()), std::min(massive.numel(), options.massive_limit));
  for (size_t i = 0; i < s.massive.size(); ++i) {
    EXPECT_EQ(std::abs(s.massive[i].value), massive[static_cast<int64_t>(i)].item<double>());
    EXPECT_EQ(v[s.massive[i].sequence][s.massive[i].token][s.massive[i].channel].item<double>(),
              s.massive[i].value);
  }
  EXPECT_EQ(s.nan_count + s.inf_count, 0);
}

ActivationSummary summary_of(const std::vector<std::pair<at::Tensor, int64_t>>& parts,
                             ActivationOptions options = {}) {
  ActivationAccumulator accumulator(options);
  for (const auto& [x, first] : parts) accumulator.add(x, first);
  if (accumulator.needs_refinement()) {
    for (const auto& [x, first] : parts) accumulator.refine(x, first);
  }
  return accumulator.finish();
}

// Like a residual stream: near-normal, with a few channels of a few tokens far above.
at::Tensor activations(int64_t b, int64_t t, int64_t c, at::ScalarType dtype) {
  at::Tensor x = at::randn({b, t, c}) * at::rand({c}).add(0.1);
  for (int64_t i = 0; i < b; ++i) {
    x[i][0][c / 2] = -1500.0 - static_cast<double>(i);
    x[i][t / 2][c - 1] = 321.0;
  }
  return x.to(dtype);
}

class Activations : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(5); }
};

TEST_P(Activations, FollowTheDefinitions) {
  for (const auto& [b, t, c] :
       {std::tuple{1, 1, 1}, {1, 1, 7}, {3, 5, 1}, {2, 9, 33}, {1, 40, 300}, {3, 130, 257}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", b, t, c));
    const at::Tensor x = activations(b, t, c, GetParam());
    expect_definitions(summary_of({{x, 0}}), x);
  }
}

TEST_P(Activations, SequencesMayComeInPartsAndAnyOrder) {
  const at::Tensor x = activations(5, 64, 200, GetParam());
  const auto part = [&](int64_t first, int64_t n) { return std::pair{x.narrow(0, first, n), first}; };
  expect_definitions(summary_of({part(3, 2), part(0, 1), part(1, 2)}), x);
}

TEST_P(Activations, NonContiguous) {
  const at::Tensor x = activations(2, 50, 400, GetParam());
  const at::Tensor strided = x.transpose(1, 2).contiguous().transpose(1, 2);
  ASSERT_FALSE(strided.is_contiguous());
  expect_definitions(summary_of({{strided, 0}}), x);
  const at::Tensor cut = x.narrow(2, 3, 200);
  expect_definitions(summary_of({{cut, 0}}), cut);
}

TEST_P(Activations, ConstantsZerosAndExtremes) {
  for (const double value : {0.0, 3.25, -1000.0}) {
    const at::Tensor x = at::full({2, 70, 300}, value, at::kFloat).to(GetParam());
    expect_definitions(summary_of({{x, 0}}), x);
  }
  at::Tensor tiny = (at::randn({1, 90, 300}) * 1e-6).to(GetParam());  // subnormal in float16
  tiny[0][1][1] = GetParam() == at::kHalf ? 65504.0 : 1e15;
  expect_definitions(summary_of({{tiny, 0}}), tiny);
}

TEST_P(Activations, BracketThatMissesIsRefined) {
  // The first sequence says nothing about the others.
  const at::Tensor low = (at::randn({1, 100, 300}) * 0.01).to(GetParam()),
                   high = (at::randn({3, 100, 300}) * 10 + 50).to(GetParam());
  for (const bool up : {true, false}) {
    ActivationAccumulator accumulator;
    const at::Tensor first = up ? low : high.narrow(0, 0, 1), rest = up ? high : low.expand({3, 100, 300});
    accumulator.add(first, 0);
    accumulator.add(rest, 1);
    EXPECT_TRUE(accumulator.needs_refinement());
    EXPECT_THROW(accumulator.finish(), Error);
    accumulator.refine(first, 0);
    accumulator.refine(rest, 1);
    EXPECT_FALSE(accumulator.needs_refinement());
    expect_definitions(accumulator.finish(), at::cat({first, rest}));
  }
}

TEST_P(Activations, MergeEqualsOne) {
  const at::Tensor x = activations(4, 80, 220, GetParam());
  ActivationAccumulator whole, left, right;
  whole.add(x, 0);
  left.add(x.narrow(0, 2, 2), 2);
  right.add(x.narrow(0, 0, 2), 0);
  left.merge(right);
  if (left.needs_refinement()) left.refine(x, 0);
  if (whole.needs_refinement()) whole.refine(x, 0);
  const ActivationSummary a = whole.finish(), b = left.finish();
  expect_definitions(b, x);
  EXPECT_EQ(a.median, b.median);
  EXPECT_EQ(a.massive_count, b.massive_count);
  EXPECT_TRUE(at::equal(a.channel_max, b.channel_max));
  expect_relative(b.kurtosis_pearson, a.kurtosis_pearson, 1e-12, "kurtosis");
  ActivationAccumulator empty;
  empty.merge(right);
  if (empty.needs_refinement()) empty.refine(x.narrow(0, 0, 2), 0);
  expect_definitions(empty.finish(), x.narrow(0, 0, 2));
}

TEST_P(Activations, NonfiniteValuesAreCountedAndLeftOut) {
  at::Tensor x = activations(2, 60, 300, GetParam());
  const at::Tensor clean = x.clone();
  x[0][3][7] = NAN;
  x[1][4][8] = INFINITY;
  x[1][5][9] = -INFINITY;
  const ActivationSummary s = summary_of({{x, 0}});
  EXPECT_EQ(s.nan_count, 1);
  EXPECT_EQ(s.inf_count, 2);
  EXPECT_EQ(s.count, x.numel() - 3);
  const at::Tensor size = clean.to(at::kDouble).abs();
  at::Tensor kept = at::ones_like(size, at::kBool);
  kept[0][3][7] = kept[1][4][8] = kept[1][5][9] = false;
  EXPECT_EQ(s.median, median_of_sorted(size.masked_select(kept)));
  expect_relative(s.mean, size.masked_select(kept).mean().item<double>(), 1e-12, "mean");
  EXPECT_TRUE(at::equal(s.channel_max.to(at::kDouble), size.masked_fill(kept.logical_not(), 0).amax({0, 1})));
  EXPECT_TRUE(at::equal(s.token_max.to(at::kDouble), size.masked_fill(kept.logical_not(), 0).amax(2)));
  EXPECT_EQ(s.max, clean[1][0][150].abs().item<double>());
  EXPECT_TRUE(std::isfinite(s.kurtosis_pearson));

  const ActivationSummary nothing = summary_of({{at::full({1, 4, 5}, NAN, at::kFloat).to(GetParam()), 0}});
  EXPECT_EQ(nothing.count, 0);
  EXPECT_EQ(nothing.nan_count, 20);
  EXPECT_EQ(nothing.max, 0);
  EXPECT_EQ(nothing.median, 0);
}

// The two backends agree in everything that is not a sum of rounded numbers.
TEST_P(Activations, BackendsAgree) {
  at::Tensor x = activations(2, 75, 310, GetParam());
  x[1][2][3] = NAN;
  Bracket bracket = guess_bracket(sample(x), x.numel());
  bracket.candidates_above = 100;
  ActivationPartial a = cpu::activation_partial(x, bracket, {0.1, -0.2}, 10),
                    b = aten::activation_partial(x, bracket, {0.1, -0.2}, 10);
  EXPECT_TRUE(at::equal(a.channel_max, b.channel_max));
  EXPECT_TRUE(at::equal(a.token_max, b.token_max));
  EXPECT_EQ(a.top3, b.top3);
  EXPECT_EQ(a.nan_count, b.nan_count);
  EXPECT_EQ(a.ranks.below, b.ranks.below);
  std::sort(a.ranks.inside.begin(), a.ranks.inside.end());
  std::sort(b.ranks.inside.begin(), b.ranks.inside.end());
  EXPECT_EQ(a.ranks.inside, b.ranks.inside);
  const auto same = [](const std::vector<ActivationValue>& l, const std::vector<ActivationValue>& r) {
    ASSERT_EQ(l.size(), r.size());
    for (size_t i = 0; i < l.size(); ++i) {
      EXPECT_EQ(l[i].value, r[i].value);
      EXPECT_EQ(l[i].sequence, r[i].sequence);
      EXPECT_EQ(l[i].token, r[i].token);
      EXPECT_EQ(l[i].channel, r[i].channel);
    }
  };
  same(a.top, b.top);
  std::sort(a.ranks.candidates.begin(), a.ranks.candidates.end(), stands_before);
  std::sort(b.ranks.candidates.begin(), b.ranks.candidates.end(), stands_before);
  same(a.ranks.candidates, b.ranks.candidates);
  for (size_t i = 0; i < a.sequences.size(); ++i) {
    EXPECT_EQ(a.sequences[i].count, b.sequences[i].count);
    expect_relative(a.sequences[i].fourth_central(), b.sequences[i].fourth_central(), 1e-11, "fourth");
    expect_relative(a.sequences[i].abs_sum, b.sequences[i].abs_sum, 1e-12, "abs_sum");
  }
}

TEST_P(Activations, ThreadsDoNotChangeTheResult) {
  const at::Tensor x = activations(3, 200, 150, GetParam());
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const ActivationSummary one = summary_of({{x, 0}});
  at::set_num_threads(4);
  const ActivationSummary four = summary_of({{x, 0}});
  at::set_num_threads(threads);
  EXPECT_EQ(one.mean, four.mean);
  EXPECT_EQ(one.kurtosis_pearson, four.kurtosis_pearson);
  EXPECT_EQ(one.median, four.median);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, Activations, testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& test) { return std::string(at::toString(test.param)); });

TEST(ActivationErrors, SayWhatIsWrong) {
  ActivationAccumulator accumulator;
  accumulator.add(at::zeros({1, 2, 3}), 0);
  EXPECT_THROW(accumulator.add(at::zeros({1, 2, 3}), 0), Error);
  EXPECT_THROW(accumulator.add(at::zeros({1, 2, 4}), 1), Error);
  EXPECT_THROW(accumulator.add(at::zeros({1, 2, 3}, at::kLong), 1), Error);
}

TEST(ActivationOptions, LimitCutsTheListNotTheCount) {
  at::manual_seed(1);
  ActivationOptions options;
  options.massive_limit = 3;
  options.top = 2;
  at::Tensor x = at::randn({1, 100, 300}) * 0.01;
  x[0].narrow(0, 0, 10).select(1, 0).fill_(5000.0);
  const ActivationSummary s = summary_of({{x, 0}}, options);
  EXPECT_EQ(s.massive_count, 10);
  EXPECT_EQ(s.massive.size(), 3u);
  EXPECT_EQ(s.massive[2].token, 2) << "ties by place";
  EXPECT_EQ(s.top.size(), 2u);
  EXPECT_EQ(s.top_channels.size(), 2u);
}

}  // namespace
}  // namespace outliers::stats
