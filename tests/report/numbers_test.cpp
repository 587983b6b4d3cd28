#include "outliers/report/numbers.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/core/display.h"

#include "support.h"

namespace outliers::report {
namespace {

/// tests/oracle/shown_numbers.py: the rule, by Python's decimal. apps.numbers holds the page against the
/// same.
const nlohmann::json& shown() {
  static const nlohmann::json cases =
      nlohmann::json::parse(tests::read_file(tests::golden("report/shown.json")));
  return cases;
}

TEST(Numbers, FollowTheRule) {
  for (const auto& c : shown()["number"])
    EXPECT_EQ(number(c[0].get<double>()), c[1].get<std::string>()) << c[0];
  for (const auto& c : shown()["percent"])
    EXPECT_EQ(percent(c[0].get<double>()), c[1].get<std::string>()) << c[0];
  for (const auto& c : shown()["bytes"])
    EXPECT_EQ(bytes(c[0].get<double>()), c[1].get<std::string>()) << c[0];
  for (const auto& c : shown()["seconds"])
    EXPECT_EQ(seconds(c[0].get<double>()), c[1].get<std::string>()) << c[0];
  for (const auto& c : shown()["visible"])
    EXPECT_EQ(escape_hidden(c[0].get<std::string>()), c[1].get<std::string>()) << c[0];
}

TEST(Numbers, SayWhatIsNone) {
  for (const double none :
       {static_cast<double>(NAN), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
    EXPECT_EQ(number(none), "not finite");
    EXPECT_EQ(percent(none), "none");
  }
}

TEST(Numbers, LimitsKeepTheirDigits) {
  EXPECT_EQ(limit(0.3), "0.3");
  EXPECT_EQ(limit(100), "100");
  EXPECT_EQ(limit(1000), "1,000");
  EXPECT_EQ(limit(65504), "65,504");
  EXPECT_EQ(limit(1234.5), "1,234.5");
}

TEST(Numbers, Counts) {
  EXPECT_EQ(count(1), "1");
  EXPECT_EQ(count(999), "999");
  EXPECT_EQ(count(-1000), "-1,000");
  EXPECT_EQ(count(151936), "151,936");
}

}  // namespace
}  // namespace outliers::report
