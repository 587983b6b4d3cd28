#include "outliers/core/suggest.h"

#include <gtest/gtest.h>

namespace outliers {
namespace {

TEST(Nearest, FindsSlipsOnly) {
  const std::vector<std::string> words = {"--sequences", "--tokens", "--threads"};
  EXPECT_EQ(nearest("--sequence", words), "--sequences");
  EXPECT_EQ(nearest("--tokns", words), "--tokens");
  EXPECT_EQ(nearest("frobnicate-everything", words), "");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace outliers
