// docs/results.schema.json against what the program writes: each of its enumerations is a list that the code
// has, so a value that one of them lacks fails here.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/dtype.h"
#include "outliers/io/checkpoint.h"
#include "outliers/report/results.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/runner.h"
#include "outliers/studies/to_json.h"
#include "outliers/studies/token_names.h"
#include "outliers/text/token_class.h"
#include "outliers/text/tokenizer.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;
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

/// What stands at a JSON pointer of the schema.
Names schema_at(const char* pointer) {
  return report::results_schema().at(ordered_json::json_pointer(pointer)).get<Names>();
}

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
  names.insert(names.end(), kImageClasses.begin(), kImageClasses.end());
  EXPECT_THAT(schema_at("/$defs/class/enum"), ElementsAreArray(names));
}

TEST(ResultsSchema, KnowsBothAxes) {
  Names names;
  for (const bool row : {true, false}) {
    stats::WeightSummary summary;
    summary.score_is_row = row;
    names.push_back(to_json(summary)["axis"]);
  }
  EXPECT_THAT(schema_at("/$defs/axis/enum"), ElementsAreArray(names));
}

TEST(ResultsSchema, KnowsEveryProjection) {
  models::Config config;
  config.heads = config.kv_heads = config.head_width = 1;
  const at::Tensor w = at::ones({3, 3});
  run::LayerWeights weights;
  weights.qkv = weights.o = weights.router = w;
  weights.mlp.gate = weights.mlp.up = weights.mlp.down = w;
  Names names;
  for (const run::LayerWeight& weight : run::projections(weights, config)) {
    if (weight.module != "router") names.push_back(weight.module);  // stands beside the modules
  }
  EXPECT_THAT(schema_at("/properties/weights/items/properties/modules/propertyNames/enum"),
              ElementsAreArray(names));
  const ordered_json& layer = report::results_schema()["properties"]["weights"]["items"]["properties"];
  EXPECT_TRUE(layer.contains("router"));
  for (const run::LayerWeight& weight : run::projections(weights.mlp, 0))
    EXPECT_TRUE(layer["experts"]["items"]["properties"].contains(weight.module)) << weight.module;
}

}  // namespace
}  // namespace outliers::studies
