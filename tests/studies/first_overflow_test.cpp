#include "outliers/studies/first_overflow.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/formats.h"

#include "measures/measured.h"

namespace outliers::studies {
namespace {

using testing::Optional;

results::Amax amax(double value, int64_t token) {
  results::Amax x;
  x.value = value;
  x.token = token;
  x.channel = 7;
  return x;
}

/// Two layers; float8 e4m3 is passed in layer 0, by the corpus and at a later point by the prompt too,
/// float16 in layer 1.
results::Results sample() {
  results::Results r;
  r.inputs.resize(2);
  r.inputs[0].name = "prompt";
  r.inputs[1].name = "corpus";
  r.layers.resize(2);
  r.layers[1].layer = 1;
  results::Layer &first = r.layers[0], &second = r.layers[1];
  first.inputs["prompt"].amax["key"] = amax(448, 0);
  first.inputs["prompt"].amax["resid_out"] = amax(5000, 0);
  first.inputs["corpus"].amax["key"] = amax(-448.5, 2);
  first.inputs["corpus"].amax["resid_out"] = amax(1, 1);
  second.inputs["prompt"].amax["down_out"] = amax(-70000, 1);
  second.inputs["corpus"].amax["resid_out"] = amax(1e6, 1);
  r.inputs[0].amax["logits"] = amax(9, 0);
  return r;
}

results::Named<std::optional<results::Overflow>> found_in(const results::Results& r) {
  const tests::Numbers names;
  return first_overflows(r,
                         tests::measured_inputs({{"prompt", at::arange(3).view({1, 3})},
                                                 {"corpus", at::arange(3, 9).view({2, 3})}}),
                         names);
}

TEST(FirstOverflow, IsTheFirstInTheOrderOfComputation) {
  const auto first = found_in(sample());
  EXPECT_EQ(first.size(), kRanges.size());
  const results::Overflow& e4m3 = **first.find("fp8_e4m3");
  EXPECT_THAT(e4m3.layer, Optional(0));
  EXPECT_EQ(e4m3.point, "key");
  EXPECT_EQ(e4m3.input, "corpus");
  EXPECT_EQ(e4m3.value, -448.5);
  EXPECT_EQ(e4m3.largest, 448);
  EXPECT_THAT(e4m3.token, Optional(2));
  EXPECT_THAT(e4m3.channel, Optional(7));
  EXPECT_THAT(e4m3.token_text, Optional(std::string("5")));
  EXPECT_THAT(e4m3.token_class, Optional(std::string("other")));
  for (const char* name : {"fp16", "fp8_e5m2"}) {
    const results::Overflow& passed = **first.find(name);
    EXPECT_THAT(passed.layer, Optional(1)) << name;
    EXPECT_EQ(passed.point, "down_out") << name;
    EXPECT_EQ(passed.input, "prompt") << name;
  }
  EXPECT_FALSE(first.find("bf16")->has_value());
}

TEST(FirstOverflow, OfTheModelsOwnPointsComesLast) {
  results::Results r = sample();
  r.inputs[0].amax["logits"] = amax(1e39, 2);
  const auto first = found_in(r);
  const results::Overflow& bf16 = **first.find("bf16");
  EXPECT_FALSE(bf16.layer.has_value());
  EXPECT_EQ(bf16.point, "logits");
}

TEST(FirstOverflow, IsToldOfLayersThatAreFinite) {
  results::Results r = sample();
  r.inputs[0].amax["logits"] = amax(1e39, 2);
  r.summary.first_nonfinite.emplace().layer = 1;
  const auto first = found_in(r);
  EXPECT_TRUE(first.find("fp8_e4m3")->has_value());
  for (const char* name : {"fp16", "bf16"}) EXPECT_FALSE(first.find(name)->has_value()) << name;
  r.summary.first_nonfinite->layer = 0;
  EXPECT_FALSE(found_in(r).find("fp8_e4m3")->has_value());
}

TEST(FirstOverflow, IsNotThereWhereNothingWasMeasured) {
  results::Results r = sample();
  for (results::Layer& layer : r.layers) {
    for (auto& [name, input] : layer.inputs) input.amax = {};
  }
  EXPECT_TRUE(found_in(r).empty());
}

}  // namespace
}  // namespace outliers::studies
