// What a set of measures asks of a run, and that what it finds does not depend on who looks beside it.
#include "outliers/measures/measure_set.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"

#include "measures/measured.h"
#include "support.h"

namespace outliers::measures {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<models::Model> golden_model(const std::string& name) {
  return models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
}

std::vector<std::string> names_of(const std::vector<const MeasureInfo*>& measures) {
  std::vector<std::string> names;
  for (const MeasureInfo* measure : measures) names.emplace_back(measure->name);
  return names;
}

std::vector<run::Input> inputs_for(const models::Config& c) {
  at::manual_seed(5);
  if (!models::reads_images(c)) {
    return {{"prompt", at::randint(c.vocabulary, {1, 6}, at::kLong)},
            {"prompt2", at::randint(c.vocabulary, {1, 9}, at::kLong)},
            {"corpus", at::randint(c.vocabulary, {3, 8}, at::kLong)},
            {"corpus2", at::randint(c.vocabulary, {2, 11}, at::kLong)}};
  }
  const at::Tensor pixels = at::randn({3, c.vision.channels, c.vision.image_height, c.vision.image_width});
  return {run::image_input(c, "prompt", pixels.narrow(0, 0, 1)), run::image_input(c, "corpus", pixels)};
}

TEST(ChooseMeasures, TakesNeedsAlongInTheOrderOfTheTable) {
  const models::Config c = golden_model("llama_untied")->config();
  EXPECT_THAT(names_of(choose_measures({"writes"}, c)), ElementsAre("activations", "writes"));
  EXPECT_THAT(names_of(choose_measures({"alignment", "writes"}, c)),
              ElementsAre("activations", "attention", "weights", "writes", "alignment"));
  std::vector<std::string> cheap;
  for (const MeasureInfo* row : choose_measures({"all"}, c)) {
    if (row->on_request == nullptr) cheap.emplace_back(row->name);
  }
  EXPECT_EQ(names_of(choose_measures({}, c)), cheap);
  EXPECT_THAT(names_of(choose_measures({"all"}, c)), testing::Contains("rounding"));
  EXPECT_THAT(cheap, testing::Not(testing::Contains("rounding")));
  EXPECT_THAT(names_of(choose_measures({}, c)), testing::Not(testing::Contains("norms")));
}

TEST(ChooseMeasures, RefusesWhatItDoesNotKnow) {
  const models::Config c = golden_model("llama_untied")->config();
  EXPECT_THAT(tests::error_of([&] { choose_measures({"weight"}, c); }), HasSubstr("did you mean weights?"));
  EXPECT_THAT(tests::error_of([&] { choose_measures({"xyzzy"}, c); }),
              HasSubstr("there is no measure xyzzy"));
  EXPECT_THAT(tests::error_of([&] { choose_measures({"norms"}, c); }),
              HasSubstr("norms has nothing to look at"));
}

TEST(MeasureTable, NeedsStandBeforeThoseThatReadThem) {
  std::set<std::string> before;
  std::vector<std::string> apart;
  for (const MeasureInfo& row : measure_table()) {
    for (const std::string& need : row.needs) EXPECT_TRUE(before.contains(need)) << row.name << " " << need;
    EXPECT_TRUE(before.insert(row.name).second) << row.name;
    if (row.make == nullptr) apart.emplace_back(row.name);
    EXPECT_FALSE(std::string(row.description).empty()) << row.name;
    // As the table of fields has them: "arXiv 2402.17762".
    std::vector<std::string> sources = {row.source};
    for (const Value& value : row.values) sources.emplace_back(value.source);
    for (const std::string& source : sources)
      EXPECT_THAT(source, testing::Not(testing::ContainsRegex("(^|, )[0-9]"))) << row.name;
  }
  EXPECT_THAT(apart,
              ElementsAre("super_weights", "criticality", "vocabulary"));  // studies::survey makes them
}

/// What a run is asked for.
struct Asked {
  std::set<std::string> points;
  bool sums = false, weights = false;
  bool operator==(const Asked&) const = default;
};

Asked asked_by(const std::vector<const MeasureInfo*>& chosen, const models::Config& c, size_t input) {
  const tests::Numbers numbers;
  const MeasureSet set({c, numbers, tests::measured_inputs(inputs_for(c))}, chosen);
  Asked asked;
  for (const run::PointInfo& point : run::point_table()) {
    if (set.wants({point.per_layer ? 1 : -1, point.point}, input)) asked.points.insert(point.name);
  }
  asked.sums = set.wants_attention_sums(1, input);
  asked.weights = set.wants_weights(1);
  return asked;
}

TEST(MeasureSet, AsksForNothingThatNoMeasureWants) {
  const std::map<std::string, Asked> of_corpora = {
      {"activations",
       {{"resid_out", "down_in", "experts.index", "experts.down_in", "shared.down_in"}, false, false}},
      {"attention", {{}, true, false}},
      {"attention_maps", {}},
      {"weights", {{}, false, true}},
      {"experts", {{"experts.index", "experts.down_in", "experts.down_out"}, false, false}},
      {"writes", {{}, false, true}},
      {"prompt_values", {}},
      {"alignment", {{}, false, true}},
      {"value_drain", {{"value"}, true, false}},
      {"sinks", {{}, true, false}},
      {"heads", {{"query", "key", "value", "o_in"}, true, false}},
      {"distribution", {{"resid_out"}, false, false}},
      {"residual_sinks", {{"resid_in", "attn_norm_out"}, false, false}},
      {"int8_outliers", {{"attn_norm_out", "mlp_norm_out"}, false, false}},
      {"positions", {{"o_in"}, false, false}},
      {"spectrum", {{"resid_out"}, false, false}},
      {"collinearity", {{}, false, true}},
      {"headroom",
       {{"attn_norm_out",
         "query",
         "key",
         "value",
         "attn_out",
         "o_in",
         "attn_added",
         "resid_mid",
         "mlp_norm_out",
         "router_logits",
         "experts.index",
         "experts.weight",
         "experts.gate_out",
         "experts.act_out",
         "experts.up_out",
         "experts.down_in",
         "experts.down_out",
         "shared.weight",
         "shared.gate_out",
         "shared.act_out",
         "shared.up_out",
         "shared.down_in",
         "shared.down_out",
         "gate_out",
         "act_out",
         "up_out",
         "down_out",
         "mlp_added",
         "final_norm_out"},
        true,
        false}},
      {"rounding",
       {{"attn_norm_out", "o_in", "mlp_norm_out", "experts.down_in", "shared.down_in", "down_in"},
        false,
        false}},
      {"weight_rounding", {{}, false, true}}};
  const auto model = golden_model("qwen2_moe_mixed");
  for (const auto& [name, wanted] : of_corpora) {
    std::vector<const MeasureInfo*> alone;
    for (const MeasureInfo& row : measure_table()) {
      if (row.name == name) alone.push_back(&row);
    }
    ASSERT_EQ(alone.size(), 1u) << name;
    const Asked asked = asked_by(alone, model->config(), 2);
    EXPECT_EQ(asked, wanted) << name << ": " << testing::PrintToString(asked.points);
  }
  const auto maps = choose_measures({"attention_maps"}, model->config());
  EXPECT_THAT(asked_by(maps, model->config(), 0).points, ElementsAre("attn_probs"));
  EXPECT_EQ(asked_by({}, model->config(), 0), Asked());
}

/// The parts of a layer that a measure fills in, by name.
const std::map<std::string, std::vector<std::string>> kParts = {
    {"activations", {"resid_out", "down_in"}},
    {"attention", {"attention"}},
    {"weights", {"weights"}},
    {"experts", {"experts"}},
    {"writes", {"writes"}},
    {"norms", {"norms"}},
    {"value_drain", {"values"}},
    {"sinks", {"values"}},
    {"heads", {"values"}},
    {"distribution", {"values"}},
    {"residual_sinks", {"values", "residual_sinks"}},
    {"int8_outliers", {"values"}},
    {"positions", {"values"}},
    {"spectrum", {"values"}},
    {"headroom", {"amax"}},
    {"rounding", {"rounding"}}};

TEST(MeasureSet, FindsTheSameWhoeverLooksBeside) {
  for (const char* name : {"llama_untied", "qwen2_moe_mixed", "vit_rectangle"}) {
    const auto model = golden_model(name);
    const std::vector<run::Input> inputs = inputs_for(model->config());
    const tests::Measured all = tests::measure(*model, inputs, {"all"});
    const json together = json::parse(results::to_text(all.results));
    for (const MeasureInfo* measure : choose_measures({"all"}, model->config())) {
      const tests::Measured alone = tests::measure(*model, inputs, {measure->name});
      const json apart = json::parse(results::to_text(alone.results));
      for (const auto& [array, tensor] : alone.arrays)
        EXPECT_TRUE(at::equal(tensor, all.array(array))) << name << " " << array;
      std::set<std::string> parts;
      for (const MeasureInfo* chosen : choose_measures({measure->name}, model->config())) {
        const auto known = kParts.find(chosen->name);
        if (known != kParts.end()) parts.insert(known->second.begin(), known->second.end());
      }
      for (size_t l = 0; l < together["layers"].size(); ++l) {
        const json &here = apart["layers"][l], &there = together["layers"][l];
        for (const auto& [part, by] :
             {std::pair("weights", "weights"), std::pair("rounding", "weight_rounding"),
              std::pair("collinearity", "collinearity")}) {
          const bool chosen = std::string_view(measure->name) == by ||
                              (std::string_view(by) == "weights" && parts.contains("weights"));
          EXPECT_EQ(here.contains(part), chosen) << measure->name;
          if (!chosen) continue;
          EXPECT_EQ(here[part], there[part]) << name << " " << measure->name;
        }
        for (const run::Input& input : inputs) {
          for (const auto& [part, value] : here["inputs"][input.name].items()) {
            EXPECT_TRUE(parts.contains(part)) << name << " " << measure->name << " " << part;
            if (part == "values") {  // each measure's are some of all
              for (const auto& [number, one] : value.items())
                EXPECT_EQ(one, there["inputs"][input.name]["values"][number])
                    << name << " " << measure->name << " " << input.name << " " << number;
              continue;
            }
            EXPECT_EQ(value, there["inputs"][input.name][part])
                << name << " " << measure->name << " " << input.name << " " << part;
          }
        }
      }
    }
  }
}

TEST(MeasureSet, FindsTheSameOfAnInputWhateverElseIsRun) {
  const auto model = golden_model("qwen2_moe_mixed");
  const std::vector<run::Input> inputs = inputs_for(model->config());
  const tests::Measured all = tests::measure(*model, inputs, {"all"});
  for (const run::Input& input : inputs) {
    const tests::Measured alone = tests::measure(*model, {input}, {"activations", "attention", "experts"});
    for (size_t l = 0; l < alone.results.layers.size(); ++l) {
      const results::LayerInput &here = alone.part(l, input.name), &there = all.part(l, input.name);
      // Another input may ask for another split of the products.
      EXPECT_NEAR(here.resid_out->median, there.resid_out->median, 1e-6 * there.resid_out->median);
      EXPECT_NEAR(here.down_in->max, there.down_in->max, 1e-5 * there.down_in->max);
      EXPECT_EQ(here.down_in->count, there.down_in->count);
      EXPECT_NEAR(here.attention->median, there.attention->median, 1e-6);
      ASSERT_EQ(here.experts.size(), there.experts.size());
      for (size_t e = 0; e < here.experts.size(); ++e)
        EXPECT_EQ(here.experts[e].tokens, there.experts[e].tokens);
    }
  }
}

TEST(MeasureSet, LooksAgainWhereTheFirstTensorMisled) {
  const auto model = golden_model("llama_untied");
  const models::Config& c = model->config();
  const int64_t T = 8, N = 40;
  const tests::Numbers numbers;
  MeasureSet set({c, numbers, {{"corpus", results::InputKind::corpus, at::zeros({N, T}, at::kLong)}}},
                 choose_measures({"activations"}, c));
  at::manual_seed(2);
  std::vector<at::Tensor> parts;
  for (int64_t n = 0; n < N; n += 4) {
    // The first is small, and the median is among the others.
    const at::Tensor x = at::randn({4, T, c.width}) * (n == 0 ? 1e-3 : 7.0);
    parts.push_back(x);
    set.on_point({0, run::Point::resid_out}, {0, n}, x);
    set.on_point({0, run::Point::down_in}, {0, n}, at::ones({4, T, c.mlp_width}));
  }
  set.on_layer_end(0);
  const std::vector<results::Layer> layers = set.take_layers();
  const at::Tensor sorted = std::get<0>(at::cat(parts).abs().flatten().to(at::kDouble).sort());
  const int64_t half = sorted.numel() / 2;
  const double median = (sorted[half - 1].item<double>() + sorted[half].item<double>()) / 2;
  EXPECT_EQ(layers.at(0).inputs.find("corpus")->resid_out->median, median);
}

}  // namespace
}  // namespace outliers::measures
