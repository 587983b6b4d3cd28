#include "outliers/core/shape.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"

namespace outliers {
namespace {

TEST(CheckShape, AcceptsAndNamesWhatDiffers) {
  const at::Tensor q = at::zeros({2, 3});
  EXPECT_NO_THROW(check_shape(q, "attention", "q", {2, 3}));
  EXPECT_NO_THROW(check_shape(q, "attention", "q", {-1, 3}));
  try {
    check_shape(q, "attention", "q", {2, 4});
    FAIL() << "a wrong shape was accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "attention: q has shape [2, 3], wanted [2, 4]");
  }
  EXPECT_THROW(check_shape(q, "attention", "q", {2, 3, 1}), Error);
  EXPECT_THROW(check_shape(at::Tensor(), "attention", "q", {2}), Error);
}

}  // namespace
}  // namespace outliers
