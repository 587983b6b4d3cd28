#include "outliers/ops/rotary.h"

#include <complex>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support.h"

namespace outliers::ops {
namespace {

/// Rotation as a product of complex numbers, element by element.
at::Tensor formula(const at::Tensor& x, const at::Tensor& frequencies, double factor) {
  at::Tensor out = x.to(at::kDouble).clone();
  const int64_t half = frequencies.size(0);
  for (int64_t b = 0; b < x.size(0); ++b) {
    for (int64_t h = 0; h < x.size(1); ++h) {
      for (int64_t t = 0; t < x.size(2); ++t) {
        for (int64_t i = 0; i < half; ++i) {
          at::Tensor a = out[b][h][t][i], c = out[b][h][t][i + half];
          const std::complex<double> turned =
              std::complex<double>(a.item<double>(), c.item<double>()) *
              std::polar(factor, static_cast<double>(t) * frequencies[i].item<double>());
          a.fill_(turned.real());
          c.fill_(turned.imag());
        }
      }
    }
  }
  return out;
}

TEST(Rotate, TurnsPairsOfChannels) {
  at::manual_seed(3);
  const at::Tensor frequencies = at::tensor({1.0f, 0.3f, 0.01f});
  struct Case {
    at::ScalarType dtype;
    double tolerance;
  };
  for (const Case& c :
       {Case{at::kDouble, 1e-6}, Case{at::kFloat, 1e-6}, Case{at::kBFloat16, 2e-2}, Case{at::kHalf, 2e-3}}) {
    for (int64_t d : {6, 9}) {  // the whole head, and a part of it
      const at::Tensor x = at::randn({2, 3, 5, d}, at::kDouble).to(c.dtype);
      const at::Tensor got = rotate(x, rotary_table(frequencies, 5, 1.5));
      EXPECT_EQ(got.scalar_type(), c.dtype);
      EXPECT_LE((got.to(at::kDouble) - formula(x, frequencies, 1.5)).abs().max().item<double>(), c.tolerance)
          << toString(c.dtype) << " d=" << d;
    }
  }
}

TEST(Rotate, ReadsHeadsOfAFusedProjection) {
  at::manual_seed(4);
  const at::Tensor fused = at::randn({2, 5, 40});
  const at::Tensor x = fused.narrow(2, 8, 24).view({2, 5, 4, 6}).transpose(1, 2);
  const at::Tensor before = fused.clone();
  const at::Tensor frequencies = at::tensor({1.0f, 0.3f, 0.01f});
  const at::Tensor got = rotate(x, rotary_table(frequencies, 5));
  EXPECT_LE((got.to(at::kDouble) - formula(x, frequencies, 1.0)).abs().max().item<double>(), 1e-6);
  EXPECT_TRUE(at::equal(fused, before));
}

TEST(Rotate, RefusesTablesThatDoNotFit) {
  const RotaryTable table = rotary_table(at::ones({4}), 5);
  EXPECT_NE(tests::error_of([&] { rotate(at::ones({1, 1, 6, 8}), table); }).find("cos"), std::string::npos);
  EXPECT_NE(tests::error_of([&] {
              rotate(at::ones({1, 1, 5, 6}), table);
            }).find("8 channels"),
            std::string::npos);
}

}  // namespace
}  // namespace outliers::ops
