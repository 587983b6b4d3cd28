// Moments of tokens and sums of channels against float64 formulas, by both backends.
#include "outliers/stats/profile.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"

namespace outliers::stats {
namespace {

constexpr ProfileLimits kLimits = {.above = 1.5, .above_rms = 2.5};

void expect_near(const at::Tensor& got, const at::Tensor& wanted, double relative, const std::string& what) {
  ASSERT_EQ(got.sizes(), wanted.sizes()) << what;
  EXPECT_TRUE(at::allclose(got.to(at::kDouble), wanted, relative, 1e-30)) << what << "\n" << got << wanted;
}

void expect_formulas(const Profile& p, const at::Tensor& x_in, const std::string& what) {
  const at::Tensor x = x_in.to(at::kDouble), d = x - x.mean(2, true), square = x.square().mean(2);
  expect_near(p.max, x.abs().amax(2), 0, what + " max");
  expect_near(p.abs_mean, x.abs().mean(2), 1e-6, what + " abs_mean");
  expect_near(p.square, square, 1e-6, what + " square");
  expect_near(p.variance, d.square().mean(2), 1e-5, what + " variance");
  expect_near(p.fourth, d.pow(4).mean(2), 1e-5, what + " fourth");
  expect_near(p.channel_square, x.square().sum(1), 1e-6, what + " channel_square");
  at::Tensor unit = x.square() / square.unsqueeze(2);
  unit = unit.masked_fill(square.unsqueeze(2) == 0, 0);
  expect_near(p.channel_unit, unit.sum(at::IntArrayRef({0, 1})), 1e-6, what + " channel_unit");
  EXPECT_TRUE(at::equal(p.above, x.abs().ge(kLimits.above).sum(at::IntArrayRef({0, 1})))) << what;
  const at::Tensor limit = square.sqrt().unsqueeze(2) * kLimits.above_rms;
  EXPECT_TRUE(at::equal(p.above_rms, (x.abs() > limit).sum(at::IntArrayRef({0, 1})))) << what;
}

void expect_both(const at::Tensor& x, const std::string& what) {
  expect_formulas(cpu::profile(x, kLimits), x, what + " cpu");
  expect_formulas(reference::profile(x, kLimits), x, what + " reference");
}

TEST(Profile, AgreesWithTheFormulas) {
  at::manual_seed(3);
  for (const auto& [B, T, C] : {std::tuple(1, 1, 1), std::tuple(2, 3, 17), std::tuple(3, 300, 16),
                                std::tuple(1, 70, 576), std::tuple(2, 513, 40)}) {
    for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
      const at::Tensor x = at::randn({B, T, C}).to(at::kHalf).to(type);
      expect_both(x, fmt::format("[{},{},{}] {}", B, T, C, toString(type)));
    }
  }
}

TEST(Profile, HoldsWithOutliersAndZeros) {
  at::manual_seed(4);
  at::Tensor x = at::randn({2, 90, 64});
  x[0][0][5] = 2.5e4;
  x[1][0][5] = -3e4;
  x[1][7].fill_(0);
  x.select(2, 9).add_(4);
  expect_both(x, "outliers");
  EXPECT_EQ(cpu::profile(x, kLimits).above[5].item<int64_t>(),
            x.select(2, 5).abs().ge(1.5).sum().item<int64_t>());
}

TEST(Profile, ReadsAnyStrides) {
  at::manual_seed(5);
  const at::Tensor x = at::randn({3, 20, 50});
  expect_both(x.transpose(1, 2), "transposed");
  expect_both(x.slice(2, 3, 40), "part of the channels");
  expect_both(x.slice(1, 2, 19, 3), "every third token");
}

TEST(Profile, IsTheSameWhateverTheThreads) {
  at::manual_seed(6);
  const at::Tensor x = at::randn({2, 700, 48});
  const int threads = at::get_num_threads();
  const Profile many = profile(x, kLimits);
  at::set_num_threads(1);
  const Profile one = profile(x, kLimits);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(many.channel_square, one.channel_square));
  EXPECT_TRUE(at::equal(many.channel_unit, one.channel_unit));
  EXPECT_TRUE(at::equal(many.fourth, one.fourth));
}

TEST(Profile, RefusesOtherShapes) {
  EXPECT_THROW(profile(at::zeros({3, 4}), kLimits), Error);
}

TEST(Profile, OfNothingIsNothing) {
  const Profile p = profile(at::zeros({0, 4, 8}), kLimits);
  EXPECT_EQ(p.max.sizes(), at::IntArrayRef({0, 4}));
  EXPECT_EQ(p.above.sum().item<int64_t>(), 0);
}

}  // namespace
}  // namespace outliers::stats
