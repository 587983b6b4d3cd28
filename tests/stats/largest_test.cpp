// The largest abs x and its place against a look at every value.
#include "outliers/stats/largest.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace outliers::stats {
namespace {

std::optional<Largest> looked_at(const at::Tensor& x) {
  const at::Tensor flat = x.to(at::kDouble).contiguous().flatten();
  const auto value = flat.accessor<double, 1>();
  std::optional<Largest> largest;
  for (int64_t i = 0; i < flat.numel(); ++i) {
    if (!std::isfinite(value[i])) continue;
    if (!largest || std::abs(value[i]) > std::abs(largest->value)) largest = {value[i], i};
  }
  return largest;
}

void expect_same(const at::Tensor& x) {
  const auto got = largest_abs(x), wanted = looked_at(x);
  ASSERT_EQ(got.has_value(), wanted.has_value());
  if (!got) return;
  EXPECT_EQ(got->value, wanted->value);
  EXPECT_EQ(got->place, wanted->place);
}

TEST(LargestAbs, IsTheFirstOfAllValues) {
  at::manual_seed(4);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    SCOPED_TRACE(toString(type));
    const at::Tensor x = at::randn({3, 70, 101}).to(type);
    expect_same(x);
    expect_same(x.transpose(1, 2));
    expect_same(x.slice(2, 5, 60));
    at::Tensor y = x.clone();
    y[1][2][3] = -100, y[2][2][3] = 100;  // equal ones: the first
    expect_same(y);
    y[0][5].fill_(std::numeric_limits<double>::quiet_NaN());
    y[2][69][100] = -infinity;
    expect_same(y);
    expect_same(at::full({9000}, infinity).to(type));
    expect_same(at::cat({at::full({9000}, infinity), at::zeros({5})}).to(type));
    expect_same(at::zeros({7}).to(type));
    expect_same(at::zeros({0}).to(type));
  }
}

}  // namespace
}  // namespace outliers::stats
