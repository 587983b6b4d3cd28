#include "outliers/report/format.h"

#include <cmath>

#include <gtest/gtest.h>

namespace outliers::report {
namespace {

TEST(Format, Ranges) {
  EXPECT_EQ(ranges({0, 1, 2, 5}), "0-2, 5");
  EXPECT_EQ(ranges({3}), "3");
  EXPECT_EQ(ranges({}), "");
}

TEST(Format, SparklineIsLogarithmic) {
  EXPECT_EQ(sparkline_cells({1, 10, 100}), (std::vector<std::string>{"▁", "▅", "█"}));
  EXPECT_EQ(sparkline_cells({5, 5}), (std::vector<std::string>{"▁", "▁"}));
  EXPECT_EQ(sparkline_cells({0, NAN, 2}), (std::vector<std::string>{"▁", "·", "▁"}));
}

}  // namespace
}  // namespace outliers::report
