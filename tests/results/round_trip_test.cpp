// What is written is what is read.
#include <map>

#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "every_field.h"
#include "support.h"

namespace outliers::results {
namespace {

class RoundTrip : public testing::Test {
 protected:
  Results read_back(const Results& results, int indent = 1) {
    tests::write_file(scratch_ / "results.json", to_text(results, indent));
    return read(scratch_ / "results.json");
  }
  void expect_same(Results results) {
    Results back = read_back(results);
    EXPECT_EQ(tests::values_of(back), tests::values_of(results));
    EXPECT_EQ(to_text(back), to_text(results));
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(RoundTrip, KeepsEveryField) {
  for (const bool distinct : {true, false}) expect_same(tests::every_field(distinct));
}

TEST_F(RoundTrip, IsOfDistinctValues) {
  Results results = tests::every_field(true);
  std::map<std::string, std::string> places;  // by value
  for (const auto& [path, value] : tests::values_of(results)) {
    // Layer 0 has every type; the other layers are copies of one.
    const bool number = value.find_first_not_of("-.0123456789") == std::string::npos;
    const bool kept_free =
        !path.ends_with(".sequence") && !path.ends_with(".head") && path != "layers[0].layer";
    if (!path.starts_with("layers[0].") || !number || !kept_free) continue;
    const auto [first, is_new] = places.emplace(value, path);
    EXPECT_TRUE(is_new) << path << " and " << first->second << " are " << value;
  }
  EXPECT_GT(places.size(), 300);
}

TEST_F(RoundTrip, KeepsWhatIsLeftOut) {
  Results results;
  results.model.layers = 1;
  results.model.format = "gguf";
  results.run.dtype = "float32";
  results.run.bos = "never";
  results.run.device = "cpu";
  results.inputs.emplace_back().name = "corpus";
  results.layers.resize(1);
  results.layers[0].inputs["corpus"];
  results.summary.headroom["down_in"];
  expect_same(results);
  EXPECT_FALSE(read_back(results).summary.headroom.find("down_in")->has_value());
}

TEST_F(RoundTrip, WritesNullForWhatIsNotFinite) {
  for (const double number : {NAN, INFINITY, -INFINITY}) {
    Results results = tests::every_field(true);
    Place& place = results.layers[1].inputs["corpus"].resid_out->top[1];
    place.value = results.layers[0].weights->modules["q"].score = number;
    EXPECT_THAT(to_text(results), testing::HasSubstr("\"value\": null"));
    Results back = read_back(results);
    EXPECT_TRUE(std::isnan(back.layers[1].inputs["corpus"].resid_out->top[1].value));
    EXPECT_TRUE(std::isnan(back.layers[0].weights->modules["q"].score));
    EXPECT_EQ(back.layers[1].inputs["corpus"].resid_out->top[1].token, place.token);
  }
}

TEST_F(RoundTrip, KeepsNumbersToTheLastBit) {
  Results results = tests::every_field(false);
  Place& place = results.layers[0].inputs["corpus"].resid_out->top[0];
  for (const double number : {0.1, 1e-310, -65504.0, 1.7976931348623157e308, 2.0 / 3, -0.0}) {
    place.value = number;
    const double back = read_back(results, -1).layers[0].inputs["corpus"].resid_out->top[0].value;
    EXPECT_EQ(std::memcmp(&back, &number, sizeof(double)), 0) << number;
  }
  results.run.seed = 9007199254740991;
  results.model.parameters = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(read_back(results).run.seed, 9007199254740991);
  EXPECT_EQ(read_back(results).model.parameters, std::numeric_limits<int64_t>::max());
}

TEST_F(RoundTrip, WritesTextsThatAreNoUtf8) {
  Results results = tests::every_field(false);
  results.inputs[0].source =
      "a\xff"
      "b";
  EXPECT_EQ(read_back(results).inputs[0].source,
            "a\xef\xbf\xbd"
            "b");
}

}  // namespace
}  // namespace outliers::results
