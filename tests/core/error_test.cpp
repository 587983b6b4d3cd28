#include "outliers/core/error.h"

#include <gtest/gtest.h>

namespace outliers {
namespace {

TEST(Error, CarriesMessageAndExitCode) {
  try {
    fail("{} is {}", "x", 3);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "x is 3");
    EXPECT_EQ(error.exit_code(), 1);
  }
  EXPECT_EQ(UsageError("no").exit_code(), 2);
  EXPECT_EQ(Interrupted(2, "interrupted").exit_code(), 130);
}

}  // namespace
}  // namespace outliers
