#include "outliers/ops/norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support.h"

namespace outliers::ops {
namespace {

at::Tensor formula(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide / at::sqrt(wide.square().mean(-1, true) + epsilon) * weight.to(at::kDouble);
}

TEST(RmsNorm, FollowsItsFormulaOverShapesAndDtypes) {
  at::manual_seed(1);
  struct Case {
    at::ScalarType dtype;
    double tolerance;  // relative to the largest value
  };
  for (const Case& c :
       {Case{at::kDouble, 1e-14}, Case{at::kFloat, 3e-7}, Case{at::kBFloat16, 4e-3}, Case{at::kHalf, 5e-4}}) {
    for (int64_t n : {1, 7, 16, 64, 250}) {
      const at::ScalarType wide = c.dtype == at::kDouble ? at::kDouble : at::kFloat;
      const at::Tensor x = (at::randn({3, 5, n}, at::kDouble) * 10).to(c.dtype);
      const at::Tensor weight = at::randn({n}, at::kDouble).to(wide);
      const at::Tensor wanted = formula(x, weight, 1e-3), got = rms_norm(x, weight, 1e-3);
      EXPECT_EQ(got.scalar_type(), c.dtype);
      const double worst = (got.to(at::kDouble) - wanted).abs().max().item<double>();
      EXPECT_LE(worst, c.tolerance * wanted.abs().max().item<double>()) << toString(c.dtype) << " n=" << n;
    }
  }
}

TEST(RmsNorm, ReadsHeadsOfAFusedProjection) {
  at::manual_seed(2);
  // [B,T,3*H*d] -> the second third as [B,H,T,d].
  const at::Tensor fused = at::randn({2, 5, 3 * 4 * 6});
  const at::Tensor x = fused.narrow(2, 24, 24).view({2, 5, 4, 6}).transpose(1, 2);
  const at::Tensor weight = at::randn({6});
  EXPECT_TRUE(at::allclose(rms_norm(x, weight, 1e-6).to(at::kDouble), formula(x, weight, 1e-6), 1e-5, 1e-6));
  const at::Tensor transposed = at::randn({6, 4}).t();
  EXPECT_TRUE(at::allclose(rms_norm(transposed, weight, 1e-6).to(at::kDouble),
                           formula(transposed, weight, 1e-6), 1e-5, 1e-6));
}

TEST(RmsNorm, HoldsMassiveActivationsAndReportsNan) {
  at::Tensor x = at::ones({2, 640});
  x[0][400] = 1e18;
  x[1][3] = std::nan("");
  const at::Tensor y = rms_norm(x, at::ones({640}), 1e-6);
  EXPECT_NEAR(y[0][400].item<double>(), std::sqrt(640.0), 1e-4);
  EXPECT_TRUE(at::isnan(y[1]).all().item<bool>());
  EXPECT_FALSE(at::isnan(y[0]).any().item<bool>());
}

TEST(RmsNorm, RefusesAWeightOfAnotherSizeOrDtype) {
  EXPECT_NE(tests::error_of([] {
              rms_norm(at::ones({2, 4}), at::ones({3}), 0);
            }).find("weight"),
            std::string::npos);
  EXPECT_NE(tests::error_of([] {
              rms_norm(at::ones({2, 4}), at::ones({4}, at::kDouble), 0);
            }).find("Float"),
            std::string::npos);
}

TEST(LayerNorm, FollowsItsFormulaWithAndWithoutParameters) {
  at::manual_seed(3);
  struct Case {
    at::ScalarType dtype;
    double tolerance;
  };
  for (const Case& c :
       {Case{at::kDouble, 1e-14}, Case{at::kFloat, 5e-7}, Case{at::kBFloat16, 4e-3}, Case{at::kHalf, 5e-4}}) {
    const at::ScalarType wide = c.dtype == at::kDouble ? at::kDouble : at::kFloat;
    // A slice of a wider projection, far from a mean of zero.
    const at::Tensor x = (at::randn({3, 5, 40}, at::kDouble) * 10 + 30).to(c.dtype).narrow(2, 8, 20);
    const at::Tensor weight = at::randn({20}, at::kDouble).to(wide),
                     bias = at::randn({20}, at::kDouble).to(wide);
    const at::Tensor wide_x = x.to(at::kDouble), centred = wide_x - wide_x.mean(-1, true);
    const at::Tensor plain = centred / at::sqrt(centred.square().mean(-1, true) + 1e-3);
    for (const auto& [w, b] :
         {std::pair{weight, bias}, {weight, at::Tensor()}, {at::Tensor(), at::Tensor()}}) {
      at::Tensor wanted = plain;
      if (w.defined()) wanted = wanted * w.to(at::kDouble);
      if (b.defined()) wanted = wanted + b.to(at::kDouble);
      const at::Tensor got = layer_norm(x, w, b, 1e-3);
      EXPECT_EQ(got.scalar_type(), c.dtype);
      const double worst = (got.to(at::kDouble) - wanted).abs().max().item<double>();
      EXPECT_LE(worst, c.tolerance * wanted.abs().max().item<double>()) << toString(c.dtype);
    }
  }
  EXPECT_NE(tests::error_of([] {
              layer_norm(at::ones({2, 4}), at::ones({4}), at::ones({3}), 0);
            }).find("bias"),
            std::string::npos);
}

}  // namespace
}  // namespace outliers::ops
