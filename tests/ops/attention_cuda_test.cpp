// Attention on CUDA against the formula in double, and its sums, which must also come out bit-equal twice.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/ops/attention.h"
#include "outliers/ops/reference/attention.h"

namespace outliers::ops {
namespace {

struct Case {
  int64_t B, H, Hk, T, S, d;
  bool causal;
  int64_t window;
  bool sinks;
};

class CudaAttention : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    // Full float32: TF32 would round the inputs to 10 bits.
    at::globalContext().setAllowTF32CuBLAS(false);
  }
};

double largest_difference(const at::Tensor& got, const at::Tensor& want) {
  return (got.to(at::kCPU, at::kDouble) - want).abs().max().item<double>();
}

TEST_F(CudaAttention, AgreesWithTheFormula) {
  const Case cases[] = {
      {2, 4, 2, 7, 7, 16, true, 0, false},       {1, 3, 1, 65, 65, 64, true, 0, false},
      {1, 2, 2, 200, 200, 128, true, 0, true},   {1, 2, 1, 130, 130, 256, true, 0, false},
      {2, 4, 2, 150, 150, 96, false, 0, false},  {1, 2, 2, 170, 170, 80, true, 33, true},
      {1, 2, 1, 100, 300, 64, false, 0, true},   {1, 2, 2, 64, 64, 128, true, 1, false},
      {1, 2, 2, 33, 97, 64, true, 0, false},     {1, 2, 2, 90, 90, 20, true, 0, false},
      {1, 2, 2, 129, 129, 192, true, 64, false},
  };
  for (const Case& c : cases) {
    at::manual_seed(7);
    const auto draw = [&](int64_t heads, int64_t tokens) {
      return (at::randn({c.B, tokens, heads, c.d}, at::kDouble).clamp(-2, 2) * 64)
          .round()
          .div(64)
          .transpose(1, 2);
    };
    const at::Tensor q = draw(c.H, c.T), k = draw(c.Hk, c.S), v = draw(c.Hk, c.S);
    k.select(2, 0).copy_(q.select(2, 0).slice(1, 0, c.Hk));
    AttentionPattern pattern;
    pattern.causal = c.causal;
    pattern.window = c.window;
    pattern.scale = 1.0 / std::sqrt(static_cast<double>(c.d));
    if (c.sinks) pattern.sinks = at::linspace(-1, 2, c.H, at::kFloat);
    constexpr int64_t kSinkQueries = 50;
    const reference::Attention want = reference::attention(q, k, v, pattern, kSinkQueries);
    for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      SCOPED_TRACE(fmt::format("B={} H={} Hk={} T={} S={} d={} {} causal={} window={} sinks={}", c.B, c.H,
                               c.Hk, c.T, c.S, c.d, toString(type), c.causal, c.window, c.sinks));
      const auto place = [&](const at::Tensor& x) { return x.to(at::kCUDA, type); };
      AttentionSums sums{.sink_queries = kSinkQueries}, again = sums;
      const at::Tensor got = attention(place(q), place(k), place(v), pattern, &sums);
      attention(place(q), place(k), place(v), pattern, &again);
      EXPECT_EQ(got.scalar_type(), type);
      const double tolerance = type == at::kFloat ? 2e-5 : type == at::kHalf ? 2e-3 : 1.6e-2;
      EXPECT_LE(largest_difference(got, want.output), tolerance);
      EXPECT_LE(largest_difference(sums.key_sums, want.key_sums), 1e-4);
      EXPECT_LE(largest_difference(sums.sink_rates, want.sink_rates), 1e-5);
      const int64_t keys = sums.sink_means.size(2);
      EXPECT_LE(largest_difference(sums.sink_means, want.sink_means.slice(2, 0, keys)), 1e-4);
      EXPECT_LE(largest_difference(sums.entropy, want.entropy), 2e-5);
      EXPECT_LE(largest_difference(sums.first_is_top, want.first_is_top), 1e-6);
      EXPECT_LE(largest_difference(sums.logit_max, want.logit_max), 2e-5);
      EXPECT_LE(largest_difference(sums.logit_min, want.logit_min), 2e-5);
      EXPECT_TRUE(at::equal(sums.key_sums, again.key_sums));
      EXPECT_TRUE(at::equal(sums.sink_rates, again.sink_rates));
      EXPECT_TRUE(at::equal(sums.entropy, again.entropy));
      EXPECT_TRUE(at::equal(sums.first_is_top, again.first_is_top));
      EXPECT_TRUE(at::equal(sums.logit_max, again.logit_max));
      EXPECT_TRUE(at::equal(sums.logit_min, again.logit_min));
    }
  }
}

TEST_F(CudaAttention, FallsBackForOtherPatterns) {
  at::manual_seed(8);
  const at::Tensor q = at::randn({1, 4, 70, 32}, at::kDouble), k = at::randn({1, 2, 70, 32}, at::kDouble);
  AttentionPattern pattern;
  pattern.scale = 0.2;
  pattern.softcap = 3.0;
  pattern.alibi_slopes = at::full({4}, 0.1);
  const reference::Attention want = reference::attention(q, k, k, pattern);
  AttentionSums sums;
  const auto place = [](const at::Tensor& x) { return x.to(at::kCUDA, at::kFloat); };
  EXPECT_LE(largest_difference(attention(place(q), place(k), place(k), pattern, &sums), want.output), 2e-5);
  EXPECT_LE(largest_difference(sums.key_sums, want.key_sums), 1e-4);
}

TEST_F(CudaAttention, NonFiniteValuesStayVisible) {
  at::Tensor q = at::zeros({1, 1, 100, 64}, at::TensorOptions(at::kHalf).device(at::kCUDA)), k = q.clone();
  k.select(2, 50).fill_(std::numeric_limits<float>::quiet_NaN());
  AttentionSums sums;
  attention(q, k, q, AttentionPattern{}, &sums);
  EXPECT_TRUE(at::isnan(sums.key_sums).any().item<bool>());
}

}  // namespace
}  // namespace outliers::ops
