// Attention against the formula in double, over shapes, dtypes, masks and options; and the sums it reports.
#include "outliers/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"
#include "outliers/ops/reference/attention.h"

namespace outliers::ops {
namespace {

struct Shape {
  int64_t B, H, Hk, T, S, d;
};

struct Case {
  Shape shape;
  at::ScalarType type;
  bool causal;
  int64_t window;
  double softcap;
  bool sinks, alibi;
};

std::string describe(const Case& c) {
  return fmt::format("B={} H={} Hk={} T={} S={} d={} {} causal={} window={} softcap={} sinks={} alibi={}",
                     c.shape.B, c.shape.H, c.shape.Hk, c.shape.T, c.shape.S, c.shape.d, toString(c.type),
                     c.causal, c.window, c.softcap, c.sinks, c.alibi);
}

struct Inputs {
  at::Tensor q, k, v;
  AttentionPattern pattern;
};

/// Values in [-2, 2] on a coarse grid, so that they are exact in every dtype and the same for each.
Inputs make_inputs(const Case& c) {
  at::manual_seed(7);
  const auto draw = [&](at::IntArrayRef size) {
    return (at::randn(size, at::kDouble).clamp(-2, 2) * 64).round().div(64).to(c.type);
  };
  Inputs in;
  in.q = draw({c.shape.B, c.shape.H, c.shape.T, c.shape.d});
  in.k = draw({c.shape.B, c.shape.Hk, c.shape.S, c.shape.d});
  in.v = draw({c.shape.B, c.shape.Hk, c.shape.S, c.shape.d});
  // One key that attracts the queries, as sinks do, so that the softmax is not flat.
  in.k.select(2, 0).copy_(in.q.select(2, 0).slice(1, 0, c.shape.Hk));
  in.pattern.causal = c.causal;
  in.pattern.window = c.window;
  in.pattern.scale = 1.0 / std::sqrt(static_cast<double>(c.shape.d));
  in.pattern.softcap = c.softcap;
  if (c.sinks) in.pattern.sinks = at::linspace(-1, 2, c.shape.H, at::kFloat);
  if (c.alibi) in.pattern.alibi_slopes = at::exp2(-at::arange(1, c.shape.H + 1, at::kFloat));
  return in;
}

double largest_difference(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  return (got.to(at::kDouble) - want).abs().max().item<double>();
}

/// Output: rounding of the result and, for 16-bit types, of the probabilities before the product with V.
double output_tolerance(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return 1e-12;
    case at::kFloat:
      return 5e-6;
    case at::kHalf:
      return 2e-3;
    default:
      return 1.6e-2;
  }
}

/// Sums of T probabilities, each with a relative error of a few units of the score type.
double sum_tolerance(at::ScalarType type, int64_t T) {
  return type == at::kDouble ? 1e-12 : 2e-6 * std::sqrt(static_cast<double>(T)) + 2e-6;
}

void compare_with(const reference::Attention& want, const Case& c, int64_t sink_queries) {
  SCOPED_TRACE(describe(c));
  const Inputs in = make_inputs(c);
  AttentionSums sums{.sink_queries = sink_queries};
  const at::Tensor with_sums = attention(in.q, in.k, in.v, in.pattern, &sums);
  const at::Tensor without = attention(in.q, in.k, in.v, in.pattern);
  EXPECT_EQ(with_sums.scalar_type(), c.type);
  EXPECT_LE(largest_difference(with_sums, want.output), output_tolerance(c.type));
  EXPECT_LE(largest_difference(without, want.output), output_tolerance(c.type));
  const at::ScalarType type = c.type == at::kDouble ? at::kDouble : at::kFloat;
  EXPECT_EQ(sums.key_sums.scalar_type(), type);
  EXPECT_EQ(sums.sink_rates.scalar_type(), type);
  EXPECT_LE(largest_difference(sums.key_sums, want.key_sums), sum_tolerance(c.type, c.shape.T));
  EXPECT_LE(largest_difference(sums.sink_rates, want.sink_rates), sum_tolerance(c.type, 1));
  // Of the keys that are left out, none of those queries sees any.
  const int64_t keys = sums.sink_means.size(2);
  EXPECT_LE(largest_difference(sums.sink_means, want.sink_means.slice(2, 0, keys)),
            sum_tolerance(c.type, sink_queries));
  EXPECT_EQ(want.sink_means.slice(2, keys).sum().item<double>(), 0);
  EXPECT_EQ(sums.entropy.scalar_type(), type);
  EXPECT_LE(largest_difference(sums.entropy, want.entropy), type == at::kDouble ? 1e-12 : 1e-5);
  EXPECT_EQ(sums.first_is_top.scalar_type(), type);
  EXPECT_LE(largest_difference(sums.first_is_top, want.first_is_top), type == at::kDouble ? 1e-12 : 1e-6);
  EXPECT_EQ(sums.logit_max.scalar_type(), type);
  EXPECT_LE(largest_difference(sums.logit_max, want.logit_max), type == at::kDouble ? 1e-12 : 1e-5);
  EXPECT_LE(largest_difference(sums.logit_min, want.logit_min), type == at::kDouble ? 1e-12 : 1e-5);
}

/// All dtypes against one run of the formula: make_inputs' values are the same in each.
void compare(Case c, int64_t sink_queries = 64) {
  c.type = at::kDouble;
  const Inputs in = make_inputs(c);
  const reference::Attention want = reference::attention(in.q, in.k, in.v, in.pattern, sink_queries);
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    c.type = type;
    compare_with(want, c, sink_queries);
  }
}

constexpr Shape kShapes[] = {
    {1, 1, 1, 1, 1, 8},      {2, 4, 2, 7, 7, 16},      {1, 3, 1, 65, 65, 64},
    {1, 2, 2, 130, 130, 80}, {1, 2, 1, 131, 131, 256}, {2, 6, 2, 33, 97, 24},
};

TEST(Attention, AgreesWithTheFormula) {
  for (const Shape& shape : kShapes) {
    for (const bool causal : {true, false}) compare({shape, at::kDouble, causal, 0, 0, false, false});
  }
}

TEST(Attention, AgreesWithTheFormulaForEveryOption) {
  for (const Shape& shape : kShapes) {
    compare({shape, at::kDouble, true, 5, 0, false, false});
    compare({shape, at::kDouble, true, 64, 0, false, false});
    compare({shape, at::kDouble, true, 0, 2.0, false, false});
    compare({shape, at::kDouble, true, 0, 0, true, false});
    compare({shape, at::kDouble, true, 0, 0, false, true});
    compare({shape, at::kDouble, false, 0, 1.5, true, true});
    compare({shape, at::kDouble, true, 40, 3.0, true, true});
  }
}

TEST(Attention, MeasuresSinksOverAnyNumberOfQueries) {
  for (const int64_t sink_queries : {1, 7, 100, 1000}) {
    compare({{1, 3, 1, 65, 65, 64}, at::kDouble, true, 0, 0, false, false}, sink_queries);
    compare({{1, 2, 2, 130, 130, 80}, at::kDouble, true, 40, 0, true, false}, sink_queries);
    compare({{2, 6, 2, 33, 97, 24}, at::kDouble, true, 0, 0, false, false}, sink_queries);
    compare({{2, 4, 2, 7, 7, 16}, at::kDouble, false, 0, 0, false, false}, sink_queries);
  }
}

TEST(Attention, SumsHoldAllProbability) {
  Case c{{2, 4, 2, 150, 150, 32}, at::kFloat, true, 0, 0, false, false};
  Inputs in = make_inputs(c);
  AttentionSums sums;
  attention(in.q, in.k, in.v, in.pattern, &sums);
  EXPECT_LE(largest_difference(sums.key_sums.sum(-1), at::full({2, 4}, 150.0, at::kDouble)), 1e-3);

  // A sink takes part of every row's mass away, and what is left is what the maps say.
  in.pattern.sinks = at::full({4}, 3.0);
  attention(in.q, in.k, in.v, in.pattern, &sums);
  const at::Tensor kept =
      attention_maps(in.q, in.k, in.pattern).probs.to(at::kDouble).sum(at::IntArrayRef({2, 3}));
  EXPECT_LT(kept.max().item<double>(), 149.0);
  EXPECT_LE(largest_difference(sums.key_sums.sum(-1), kept), 1e-3);
}

TEST(Attention, ReadsAnyStrides) {
  const Case c{{2, 4, 2, 70, 70, 32}, at::kFloat, true, 0, 0, false, false};
  const Inputs in = make_inputs(c);
  // [B,T,H,d] in memory, as projections write it.
  const auto strided = [](const at::Tensor& x) { return x.transpose(1, 2).contiguous().transpose(1, 2); };
  const reference::Attention want = reference::attention(in.q, in.k, in.v, in.pattern);
  AttentionSums sums;
  const at::Tensor got = attention(strided(in.q), strided(in.k), strided(in.v), in.pattern, &sums);
  EXPECT_LE(largest_difference(got, want.output), output_tolerance(at::kFloat));
  EXPECT_LE(largest_difference(sums.key_sums, want.key_sums), sum_tolerance(at::kFloat, 70));
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const Case c{{1, 2, 2, 80, 80, 16}, at::kFloat, true, 0, 0, false, false};
  Inputs in = make_inputs(c);
  in.pattern.scale = 1000.0;
  const reference::Attention want = reference::attention(in.q, in.k, in.v, in.pattern);
  AttentionSums sums;
  const at::Tensor got = attention(in.q, in.k, in.v, in.pattern, &sums);
  EXPECT_TRUE(at::isfinite(got).all().item<bool>());
  EXPECT_LE(largest_difference(sums.key_sums, want.key_sums), 1e-2);
}

TEST(Attention, NonFiniteValuesStayVisible) {
  const Case c{{1, 2, 2, 80, 80, 16}, at::kFloat, true, 0, 0, false, false};
  Inputs in = make_inputs(c);
  in.k.index_put_({at::tensor(0), at::tensor(0), at::tensor(50)}, std::numeric_limits<float>::quiet_NaN());
  AttentionSums sums;
  const at::Tensor got = attention(in.q, in.k, in.v, in.pattern, &sums);
  EXPECT_TRUE(at::isfinite(got.select(1, 1)).all().item<bool>());
  EXPECT_TRUE(at::isfinite(got.select(1, 0).slice(1, 0, 50)).all().item<bool>());
  EXPECT_TRUE(at::isnan(got.select(1, 0).slice(1, 50)).all().item<bool>());
  EXPECT_TRUE(at::isnan(sums.key_sums.select(1, 0).slice(1, 0, 51)).all().item<bool>());
  EXPECT_TRUE(at::isfinite(sums.logit_max).all().item<bool>());
  EXPECT_TRUE(at::isfinite(sums.logit_min).all().item<bool>());
}

TEST(Attention, CarriesGradients) {
  const Case c{{1, 4, 2, 9, 9, 8}, at::kDouble, true, 4, 2.0, true, false};
  Inputs in = make_inputs(c);
  in.pattern.sinks = in.pattern.sinks.to(at::kDouble);
  in.q.set_requires_grad(true);
  in.pattern.sinks.set_requires_grad(true);
  AttentionSums sums;
  const auto loss = [&] {
    return (attention(in.q, in.k, in.v, in.pattern, &sums) * in.v.mean()).pow(2).sum();
  };
  loss().backward();
  EXPECT_FALSE(sums.key_sums.requires_grad());
  for (at::Tensor x : {in.q, in.pattern.sinks}) {
    const double analytic = x.grad().flatten()[1].item<double>(), step = 1e-5;
    const at::NoGradGuard no_grad;
    at::Tensor entry = x.view({-1})[1];
    entry.add_(step);
    const double above = loss().item<double>();
    entry.sub_(2 * step);
    const double below = loss().item<double>();
    entry.add_(step);
    EXPECT_NEAR(analytic, (above - below) / (2 * step), 1e-7);
    EXPECT_NE(analytic, 0.0);
  }
}

TEST(AttentionMaps, AreTheFormulas) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    const Case c{{2, 4, 2, 20, 33, 16}, type, true, 12, 2.0, true, true};
    const Inputs in = make_inputs(c);
    const reference::Attention want = reference::attention(in.q, in.k, in.v, in.pattern);
    const AttentionMaps maps = attention_maps(in.q, in.k, in.pattern);
    EXPECT_TRUE(at::equal(at::isinf(maps.logits), at::isinf(want.logits)));
    EXPECT_LE(largest_difference(at::nan_to_num(maps.logits, 0, 0, 0), at::nan_to_num(want.logits, 0, 0, 0)),
              type == at::kDouble ? 1e-12 : 3e-6);
    EXPECT_LE(largest_difference(maps.probs, want.probs), type == at::kDouble ? 1e-12 : 2e-6);
  }
}

TEST(AttentionMaps, TakenStepByStepAreAttention) {
  for (const bool sinks : {false, true}) {
    for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
      const Inputs in = make_inputs({{2, 6, 2, 70, 70, 8}, type, true, 0, 0, sinks, false});
      const AttentionMaps maps = attention_maps(in.q, in.k, in.pattern);
      EXPECT_TRUE(at::equal(attention_probs(maps.logits, in.pattern), maps.probs));
      AttentionSums sums;
      const at::Tensor wanted = attention(in.q, in.k, in.v, in.pattern, &sums),
                       got = attend(maps.probs, in.v);
      EXPECT_EQ(got.scalar_type(), type);
      const double allowed = type == at::kBFloat16 ? 2e-2 : 1e-5;
      EXPECT_TRUE(at::allclose(got, wanted, allowed, allowed)) << toString(type);
      AttentionSums stepwise;
      attention_sums(maps.logits, maps.probs, in.pattern, stepwise);
      EXPECT_TRUE(at::allclose(stepwise.key_sums, sums.key_sums, 1e-4, 1e-5));
      EXPECT_TRUE(at::allclose(stepwise.sink_rates, sums.sink_rates, 1e-4, 1e-5));
      const int64_t keys = sums.sink_means.size(2);
      EXPECT_TRUE(at::allclose(stepwise.sink_means.slice(2, 0, keys), sums.sink_means, 1e-4, 1e-5));
      EXPECT_TRUE(at::allclose(stepwise.entropy, sums.entropy, 1e-4, 1e-5));
      EXPECT_TRUE(at::allclose(stepwise.first_is_top, sums.first_is_top, 1e-4, 1e-5));
      EXPECT_TRUE(at::allclose(stepwise.logit_max, sums.logit_max, 1e-4, 1e-5));
      EXPECT_TRUE(at::allclose(stepwise.logit_min, sums.logit_min, 1e-4, 1e-5));
    }
  }
}

TEST(Attention, SaysWhatIsWrong) {
  const at::Tensor q = at::zeros({1, 4, 5, 8}), k = at::zeros({1, 2, 5, 8});
  AttentionPattern pattern;
  EXPECT_THROW(attention(q, at::zeros({1, 3, 5, 8}), at::zeros({1, 3, 5, 8}), pattern), Error);
  EXPECT_THROW(attention(q, k, at::zeros({1, 2, 4, 8}), pattern), Error);
  EXPECT_THROW(attention(q, k.to(at::kHalf), k.to(at::kHalf), pattern), Error);
  EXPECT_THROW(attention(q, k.slice(2, 0, 4), k.slice(2, 0, 4), pattern), Error);
  pattern.sinks = at::zeros({3});
  EXPECT_THROW(attention(q, k, k, pattern), Error);
  pattern = {};
  pattern.causal = false;
  pattern.window = 3;
  EXPECT_THROW(attention(q, k, k, pattern), Error);
}

}  // namespace
}  // namespace outliers::ops
