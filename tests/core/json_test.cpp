#include "outliers/core/json.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"

namespace outliers {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json read(std::string_view text) {
  return parse_json<json>(text, "f.json");
}

std::string error_of(std::string_view text) {
  try {
    read(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// What json.dumps writes and json.loads reads, Python 3.11.
TEST(Json, ReadsWhatPythonWrites) {
  const json value =
      read(R"({"limit": 1000000000000000019884624838656, "low": -1000000000000000000000000000000,
    "large": 18446744073709551615, "nan": NaN, "infinite": [Infinity, -Infinity], "over": 1e400, "under": 1e-400,
    "lone": "a\ud800b\udc00", "pair": "\ud83d\ude00", "kept": -9223372036854775808, "twice": 1, "twice": 2})");
  EXPECT_EQ(value["limit"].get<double>(), 1e30);
  EXPECT_EQ(value["low"].get<double>(), -1e30);
  EXPECT_EQ(value["large"].get<uint64_t>(), 18446744073709551615u);
  EXPECT_EQ(value["kept"].get<int64_t>(), INT64_MIN);
  EXPECT_EQ(value["under"].get<double>(), 0);
  EXPECT_EQ(value["lone"], "a\uFFFDb\uFFFD");
  EXPECT_EQ(value["pair"], "\U0001F600");
  EXPECT_EQ(value["twice"], 2);
  for (const json& odd : {value["nan"], value["infinite"][0], value["infinite"][1], value["over"]}) {
    EXPECT_FALSE(odd.is_number() || odd.is_string() || odd.is_object() || odd.is_null()) << odd;
  }
  EXPECT_TRUE(parse_json<json>("[NaN]", "f.json", "null")[0].is_null());
}

TEST(Json, LeavesOrdinaryTextAlone) {
  const std::string text = "{\"a\" : [1, 2.5e-3, \"\\u00e9\\\"\", true, null, {}, []], \"\" : -0.0}\n";
  EXPECT_EQ(strict_json(text, "f.json"), text);
  EXPECT_EQ(read("\xef\xbb\xbf{\"a\":1}"), json::parse("{\"a\":1}"));
  EXPECT_EQ(read(" 7\t"), 7);
}

TEST(Json, SaysWhereItIsMalformed) {
  EXPECT_EQ(error_of(""), "f.json: this is not valid JSON: byte 1: there is nothing in it");
  EXPECT_EQ(error_of("{\"a\": 1,}"),
            "f.json: this is not valid JSON: byte 9: a key in double quotes should be here, not '}'");
  EXPECT_EQ(error_of("{\n \"é\": tru\n}\n"),
            "f.json: this is not valid JSON: line 2, column 7: a value should be here, not 't'");
  EXPECT_EQ(error_of("{\n\"a\": [1, 2\n"),
            "f.json: this is not valid JSON: line 3, column 1: the text ends where ',' or ']' should be");
  EXPECT_THAT(error_of("{\"a\": \"b"), HasSubstr("byte 7: the string that begins here has no end"));
  EXPECT_THAT(error_of("[1] 2"), HasSubstr("byte 5: there is more behind its end"));
  EXPECT_THAT(error_of("[01]"), HasSubstr("byte 3: ',' or ']' should be here, not '1'"));
  EXPECT_THAT(error_of("[-]"), HasSubstr("byte 3: a digit should be here, not ']'"));
  EXPECT_THAT(error_of("[1.]"), HasSubstr("a digit should be here"));
  EXPECT_THAT(error_of("[1e]"), HasSubstr("a digit should be here"));
  EXPECT_THAT(error_of("[-NaN]"), HasSubstr("a digit should be here, not 'N'"));
  EXPECT_THAT(error_of("['a']"), HasSubstr("a value should be here, not '''"));
  EXPECT_THAT(error_of("[\"\\x\"]"), HasSubstr("byte 3: a string has an unknown escape"));
  EXPECT_THAT(error_of("[\"\\ud8\"]"), HasSubstr("unknown escape"));
  EXPECT_THAT(error_of("[\"\x01\"]"), HasSubstr("control character"));
  EXPECT_THAT(error_of("[\"\xff\"]"), HasSubstr("byte 3: this is not UTF-8"));
  EXPECT_THAT(error_of("<!DOCTYPE html>"), HasSubstr("a value should be here, not '<'"));
}

TEST(Json, RefusesWhatIsNestedTooDeep) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(error_of(nested(1000)), "");
  EXPECT_THAT(error_of(nested(1001)), HasSubstr("nested deeper than 1000"));
  EXPECT_THAT(error_of(std::string(1000000, '{')), HasSubstr("a key in double quotes"));
  EXPECT_EQ(error_of("\"" + std::string(2000, '[') + "\""), "");  // in a string
}

}  // namespace
}  // namespace outliers
