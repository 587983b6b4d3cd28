#include "outliers/report/format.h"

#include <gtest/gtest.h>

namespace outliers::report {
namespace {

TEST(Format, Numbers) {
  EXPECT_EQ(number(1199.3), "1,199");
  EXPECT_EQ(number(103795), "103,795");
  EXPECT_EQ(number(-1234567), "-1,234,567");
  EXPECT_EQ(number(999.4), "999");
  EXPECT_EQ(number(999.6), "1,000");
  EXPECT_EQ(number(42.66), "42.7");
  EXPECT_EQ(number(0.187), "0.19");
  EXPECT_EQ(number(0.00123), "0.0012");
  EXPECT_EQ(number(0), "0.00");
  EXPECT_EQ(count(1), "1");
  EXPECT_EQ(count(151936), "151,936");
}

TEST(Format, Sizes) {
  EXPECT_EQ(bytes(12), "12 bytes");
  EXPECT_EQ(bytes(397808192), "398 MB");
  EXPECT_EQ(bytes(1.5e9), "1.50 GB");
  EXPECT_EQ(seconds(0.4211), "0.42 s");
  EXPECT_EQ(seconds(12.34), "12.3 s");
  EXPECT_EQ(seconds(245), "4 min 05 s");
  EXPECT_EQ(seconds(7261), "2 h 01 min");
  EXPECT_EQ(percent(0.953), "95 %");
  EXPECT_EQ(percent(0.0277), "2.8 %");
}

TEST(Format, Ranges) {
  EXPECT_EQ(ranges({0, 1, 2, 5}), "0-2, 5");
  EXPECT_EQ(ranges({3}), "3");
  EXPECT_EQ(ranges({}), "");
}

TEST(Format, SparklineIsLogarithmic) {
  EXPECT_EQ(sparkline({1, 10, 100}), "▁▅█");
  EXPECT_EQ(sparkline({5, 5}), "▁▁");
  EXPECT_EQ(sparkline({0, 1, 2}), "▁▁█");
}

TEST(Format, WidthsOfOtherScripts) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("日本"), 4u);
  EXPECT_EQ(display_width("e\xCC\x81"), 1u);
  EXPECT_EQ(table({"k", "n"}, {{"日", "1"}, {"abc", "20"}}), "k     n\n日    1\nabc  20\n");
}

TEST(Format, FoldsAtSpaces) {
  EXPECT_EQ(fold("one two three", 9, 2), "one two\n  three");
  EXPECT_EQ(fold("", 9, 2), "");
}

}  // namespace
}  // namespace outliers::report
