// The CUDA backend against the reference on the CPU: counts, places, maxima and keys are equal, sums agree to
// rounding, and two runs agree in every bit.
#include <algorithm>

#include <gtest/gtest.h>

#include "outliers/stats/partial.h"

#include "stats/inputs.h"

namespace outliers::stats {
namespace {

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

class CudaStatistics : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
};

void expect_near(double got, double want, double scale, const char* what) {
  EXPECT_NEAR(got, want, 1e-10 * std::abs(scale) + 1e-300) << what;
}

void expect_same(const Moments& got, const Moments& want) {
  EXPECT_EQ(got.count, want.count);
  const double n = static_cast<double>(std::max<int64_t>(want.count, 1)), sigma = std::sqrt(want.m2 / n);
  expect_near(got.mean, want.mean, std::abs(want.mean) + sigma, "mean");
  expect_near(got.m2, want.m2, want.m2, "m2");
  // Odd sums may cancel: their scale is that of the terms.
  expect_near(got.m3, want.m3, std::pow(want.m4 * want.m2, 0.5), "m3");
  expect_near(got.m4, want.m4, want.m4, "m4");
}

void expect_same(const ActivationPartial& got, const ActivationPartial& want) {
  ASSERT_EQ(got.sequences.size(), want.sequences.size());
  for (size_t b = 0; b < want.sequences.size(); ++b) {
    expect_same(got.sequences[b].moments, want.sequences[b].moments);
    expect_near(got.sequences[b].abs_sum, want.sequences[b].abs_sum, want.sequences[b].abs_sum, "abs_sum");
    EXPECT_EQ(got.sequences[b].top3, want.sequences[b].top3);
    EXPECT_EQ(got.sequences[b].nan_count, want.sequences[b].nan_count);
    EXPECT_EQ(got.sequences[b].inf_count, want.sequences[b].inf_count);
  }
  EXPECT_TRUE(at::equal(got.channel_max, want.channel_max));
  EXPECT_TRUE(at::equal(got.token_max, want.token_max));
  EXPECT_EQ(got.histogram, want.histogram);
  EXPECT_EQ(got.zero_count, want.zero_count);
  const auto sorted_keys = [](const std::vector<at::Tensor>& parts) {
    return parts.empty() ? at::empty({0}, at::kInt) : std::get<0>(at::cat(parts).sort());
  };
  EXPECT_TRUE(at::equal(sorted_keys(got.kept), sorted_keys(want.kept)));
  ASSERT_EQ(got.largest.size(), want.largest.size());
  for (size_t i = 0; i < want.largest.size(); ++i) {
    EXPECT_EQ(got.largest[i].value, want.largest[i].value);
    EXPECT_EQ(got.largest[i].sequence, want.largest[i].sequence);
    EXPECT_EQ(got.largest[i].token, want.largest[i].token);
    EXPECT_EQ(got.largest[i].channel, want.largest[i].channel);
  }
}

ActivationQuery query_for(at::ScalarType type) {
  ActivationQuery query;
  if (type == at::kFloat) query.keep = {float_bin(0.3f), float_bin(0.9f)};
  return query;
}

/// Enough rows and columns for several strips and chunks of every vector width.
at::Tensor large(at::ScalarType type, int64_t C) {
  at::Tensor x = tests::random({3, 300, C}, type);
  x[0][7][11] = 2000.0;
  x[2][299][C - 1] = -3000.0;
  x[1][5][4] = std::numeric_limits<float>::quiet_NaN();
  return x;
}

TEST_F(CudaStatistics, ActivationsAgreeWithTheReference) {
  for (const at::ScalarType type : kTypes) {
    std::vector<tests::Input> list = tests::inputs(type);
    list.push_back({"large", large(type, 4400)});
    list.push_back({"large, odd width", large(type, 1531)});
    list.push_back({"many above", tests::random({2, 64, 256}, type) * 200});
    for (const tests::Input& input : list) {
      SCOPED_TRACE(fmt::format("{} {}", toString(type), input.name));
      const at::Tensor x = input.x.to(at::kCUDA);
      const ActivationPartial got = activation_partial(x, query_for(type));
      expect_same(got, reference::activation_partial(input.x, query_for(type)));
      const ActivationPartial again = activation_partial(x, query_for(type));
      for (size_t b = 0; b < got.sequences.size(); ++b) {
        EXPECT_EQ(got.sequences[b].moments.m4, again.sequences[b].moments.m4);
        EXPECT_EQ(got.sequences[b].abs_sum, again.sequences[b].abs_sum);
      }
    }
  }
}

TEST_F(CudaStatistics, ReadsAnyStrides) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor x = tests::random({2, 12, 40}, type), on_device = x.to(at::kCUDA);
    const auto compare = [&](const at::Tensor& host, const at::Tensor& device) {
      expect_same(activation_partial(device, query_for(type)),
                  reference::activation_partial(host, query_for(type)));
    };
    compare(x.slice(2, 3, 36), on_device.slice(2, 3, 36));
    compare(x.slice(2, 4, 36), on_device.slice(2, 4, 36));
    compare(x.slice(1, 1, 12, 3), on_device.slice(1, 1, 12, 3));
    compare(x.transpose(0, 1), on_device.transpose(0, 1));
    compare(x.transpose(1, 2), on_device.transpose(1, 2));
    compare(x.slice(1, 0, 1).expand({2, 6, 40}), on_device.slice(1, 0, 1).expand({2, 6, 40}));
  }
}

TEST_F(CudaStatistics, ManyEqualValuesAreListedByPlace) {
  const at::Tensor x = at::full({1, 512, 512}, 0.5, at::kHalf);
  expect_same(activation_partial(x.to(at::kCUDA), {}), reference::activation_partial(x, {}));
}

TEST_F(CudaStatistics, KeysAreCountedOneByOne) {
  const at::Tensor x = tests::random({3, 70, 301}, at::kFloat);
  const std::vector<int64_t> bins{float_bin(0.5f), float_bin(0.6f), float_bin(1.5f)};
  EXPECT_EQ(key_counts(x.to(at::kCUDA), bins), reference::key_counts(x, bins));
}

TEST_F(CudaStatistics, WeightsAgreeWithTheReference) {
  for (const at::ScalarType type : kTypes) {
    std::vector<tests::Input> list = tests::inputs(type);
    list.push_back({"large", large(type, 4400)});
    for (const tests::Input& input : list) {
      SCOPED_TRACE(fmt::format("{} {}", toString(type), input.name));
      const at::Tensor w = input.x.flatten(0, 1);
      const WeightPartial got = weight_partial(w.to(at::kCUDA)), want = reference::weight_partial(w);
      expect_same(got.moments, want.moments);
      EXPECT_EQ(got.median, want.median);
      EXPECT_EQ(got.nonfinite, want.nonfinite);
      for (const auto& [lines, wanted] :
           {std::pair(got.rows, want.rows), std::pair(got.columns, want.columns)}) {
        EXPECT_EQ(lines.max, wanted.max);
        EXPECT_EQ(lines.count, wanted.count);
        ASSERT_EQ(lines.abs_sum.size(), wanted.abs_sum.size());
        for (size_t i = 0; i < wanted.abs_sum.size(); ++i) {
          expect_near(lines.abs_sum[i], wanted.abs_sum[i], wanted.abs_sum[i], "line");
        }
      }
    }
  }
}

}  // namespace
}  // namespace outliers::stats
