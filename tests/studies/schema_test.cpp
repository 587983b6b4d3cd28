// The schema of results against what the program writes: each of its enumerations is a list that the code
// has, so a value that one of them lacks fails here.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/core/dtype.h"
#include "outliers/io/checkpoint.h"
#include "outliers/measures/measure.h"
#include "outliers/measures/token_names.h"
#include "outliers/results/field.h"
#include "outliers/results/json.h"
#include "outliers/run/layer_weights.h"
#include "outliers/text/token_class.h"
#include "outliers/text/tokenizer.h"

namespace outliers::studies {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::UnorderedElementsAreArray;

using Names = std::vector<std::string>;

/// The names of all enumerators, whose last one is also called `last`.
template <typename Value>
Names names_of(const char* (*name)(Value)) {
  Names names;
  for (int i = 0; i <= static_cast<int>(Value::last); ++i) names.emplace_back(name(Value{i}));
  return names;
}

/// What stands at a JSON pointer of the schema, or what that refers to.
json schema_at(const std::string& pointer) {
  const json schema = json::parse(results::schema_text());
  const json& found = schema.at(json::json_pointer(pointer));
  if (!found.is_object() || !found.contains("$ref")) return found;
  return schema.at(json::json_pointer(found.at("$ref").get<std::string>().substr(1)));  // "#/..."
}

const std::string kLayer = "/properties/layers/items/properties";
const std::string kWeights = kLayer + "/weights/properties";
const std::string kInput = kLayer + "/inputs/additionalProperties/properties";

TEST(ResultsSchema, KnowsEveryFormat) {
  EXPECT_THAT(schema_at("/properties/model/properties/format/enum"),
              UnorderedElementsAreArray(names_of(io::format_name)));
}

TEST(ResultsSchema, KnowsEveryBosPolicy) {
  EXPECT_THAT(schema_at("/properties/run/properties/bos/enum"),
              ElementsAreArray(names_of(text::bos_policy_name)));
}

TEST(ResultsSchema, KnowsEveryDtypeThatIsComputedIn) {
  Names names;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    names.emplace_back(dtype_name(dtype));
  EXPECT_THAT(schema_at("/properties/run/properties/dtype/enum"), ElementsAreArray(names));
}

TEST(ResultsSchema, KnowsEveryClassOfTokens) {
  Names names = names_of(text::token_class_name);
  names.insert(names.end(), measures::kImageClasses.begin(), measures::kImageClasses.end());
  for (const char* place : {"/resid_out/properties/massive/items", "/attention/properties/top_keys/items"})
    EXPECT_THAT(schema_at(kInput + place + "/properties/class").at("enum"), ElementsAreArray(names)) << place;
  EXPECT_THAT(schema_at("/properties/inputs/items/properties/classes/items").at("enum"),
              ElementsAreArray(names));
  EXPECT_THAT(schema_at(kInput + "/norms/properties/patches/properties/largest/properties/class/enum"),
              ElementsAre(measures::kImageClasses.back()));
}

TEST(ResultsSchema, KnowsEveryProjection) {
  models::Config config;
  config.heads = config.kv_heads = config.head_width = 1;
  const at::Tensor w = at::ones({3, 3});
  run::LayerWeights weights;
  weights.qkv = weights.o = weights.router = w;
  weights.mlp.gate = weights.mlp.up = weights.mlp.down = w;
  Names names, of_experts;
  for (const run::LayerWeight& weight : run::projections(weights, config)) {
    if (weight.module != "router") names.push_back(weight.module);  // stands beside the modules
  }
  for (const run::LayerWeight& weight : run::projections(weights.mlp, 0)) of_experts.push_back(weight.module);
  EXPECT_THAT(schema_at(kWeights + "/modules/propertyNames/enum"), ElementsAreArray(names));
  EXPECT_TRUE(schema_at(kWeights).contains("router"));
  EXPECT_THAT(schema_at(kWeights + "/experts/items/properties/modules/propertyNames/enum"),
              ElementsAreArray(of_experts));
}

TEST(ResultsSchema, KnowsTheMeasureOfEveryArray) {
  Names known = {""};
  for (const measures::MeasureInfo& measure : measures::measure_table()) known.emplace_back(measure.name);
  for (const results::ArrayField& array : results::array_table())
    EXPECT_THAT(known, testing::Contains(array.measure)) << array.name;
}

}  // namespace
}  // namespace outliers::studies
