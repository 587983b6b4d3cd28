// Reports of schema outliers-results/1 (tests/oracle/results_1.py) as the types they are today.
#include <map>

#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "support.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

constexpr const char* kReports[] = {"plain", "experts", "images", "overflow"};

std::filesystem::path report(const std::string& name) {
  return tests::golden("results/" + name + "/results.json");
}

ordered_json without(ordered_json value, std::initializer_list<const char*> names) {
  for (const char* name : names) value.erase(name);
  return value;
}

ordered_json renamed(ordered_json value) {
  if (!value.contains("batch")) return value;
  value["input"] = value["batch"];
  value.erase("batch");
  return value;
}

/// nlohmann's ordered objects are equal in the same order only.
nlohmann::json plain(const ordered_json& value) {
  return nlohmann::json::parse(value.dump());
}

/// An old report and what is written of it today.
struct Pair {
  ordered_json old, now;

  explicit Pair(const std::string& name)
      : old(ordered_json::parse(tests::read_file(report(name)))),
        now(ordered_json::parse(to_text(read(report(name))))) {}

  const ordered_json& input(size_t l, const char* name) const { return now["layers"][l]["inputs"][name]; }
  void expect_same(const ordered_json& before, const ordered_json& after, const std::string& what) const {
    EXPECT_EQ(plain(before), plain(after)) << what;
  }
};

class OldReport : public testing::TestWithParam<const char*> {
 protected:
  const Pair pair_{GetParam()};
  const ordered_json &old_ = pair_.old, &now_ = pair_.now;
};

TEST_P(OldReport, KeepsWhatWasRun) {
  EXPECT_EQ(now_["schema"], kSchema);
  pair_.expect_same(old_["model"], now_["model"], "model");
  pair_.expect_same(without(old_["run"], {"sequences", "tokens_per_sequence", "corpus"}),
                    without(now_["run"], {"measures"}), "run");
  ASSERT_EQ(now_["inputs"].size(), 2);
  const ordered_json &prompt = now_["inputs"][0], &corpus = now_["inputs"][1];
  EXPECT_EQ(prompt["name"], "prompt");
  EXPECT_EQ(prompt["kind"], "prompt");
  EXPECT_EQ(prompt["source"], old_["prompt"]["text"]);
  EXPECT_EQ(prompt["sequences"], 1);
  EXPECT_EQ(prompt["tokens_per_sequence"], old_["prompt"]["ids"].size());
  EXPECT_EQ(prompt["attention_maps"], true);
  for (const char* field : {"ids", "tokens", "classes", "kept_tokens", "embedding"})
    pair_.expect_same(old_["prompt"][field], prompt[field], field);
  EXPECT_EQ(corpus["name"], "corpus");
  EXPECT_EQ(corpus["kind"], "corpus");
  EXPECT_EQ(corpus["source"], old_["run"]["corpus"]);
  EXPECT_EQ(corpus["sequences"], old_["run"]["sequences"]);
  EXPECT_EQ(corpus["tokens_per_sequence"], old_["run"]["tokens_per_sequence"]);
  EXPECT_EQ(corpus["attention_maps"], false);
  EXPECT_EQ(old_.contains("images"), now_.contains("images"));
  if (old_.contains("images")) pair_.expect_same(old_["images"], now_["images"], "images");
}

TEST_P(OldReport, KeepsWhatWasMeasured) {
  ASSERT_EQ(now_["layers"].size(), old_["model"]["layers"].get<size_t>());
  for (size_t l = 0; l < now_["layers"].size(); ++l) {
    for (const char* name : {"prompt", "corpus"}) {
      const ordered_json& input = pair_.input(l, name);
      for (const char* point : {"resid_out", "down_in"}) {
        pair_.expect_same(without(old_["activations"][name][point][l], {"layer"}), input[point], point);
      }
      const bool prompt = std::string_view("prompt") == name;
      const ordered_json& attention =
          prompt ? old_["attention"]["prompt"]["layers"] : old_["attention"]["corpus"];
      pair_.expect_same(without(attention[l], {"layer"}), input["attention"], "attention");
      EXPECT_EQ(input.contains("writes"), prompt);
      if (prompt) pair_.expect_same(without(old_["writes"][l], {"layer"}), input["writes"], "writes");
      EXPECT_EQ(input.contains("norms"), old_.contains("norms"));
      if (old_.contains("norms"))
        pair_.expect_same(without(old_["norms"][name][l], {"layer"}), input["norms"], "norms");
    }
    pair_.expect_same(without(old_["weights"][l], {"layer", "experts"}),
                      without(now_["layers"][l]["weights"], {"experts"}), "weights");
  }
}

TEST_P(OldReport, KeepsItsExperts) {
  for (size_t l = 0; l < now_["layers"].size(); ++l) {
    const ordered_json &before = old_["weights"][l], &after = now_["layers"][l]["weights"];
    ASSERT_EQ(before.contains("experts"), after.contains("experts"));
    if (!before.contains("experts")) continue;
    ASSERT_EQ(before["experts"].size(), after["experts"].size());
    std::map<std::string, size_t> passed;
    for (size_t i = 0; i < before["experts"].size(); ++i) {
      const ordered_json &expert = before["experts"][i], &listed = after["experts"][i];
      EXPECT_EQ(expert["expert"], listed["expert"]);
      pair_.expect_same(without(expert, {"expert", "prompt", "corpus"}), listed["modules"], "modules");
      for (const char* name : {"prompt", "corpus"}) {
        // Only those that a token of the input chose are listed now.
        if (!expert.contains(name) || expert[name]["tokens"] == 0) continue;
        const ordered_json& input = pair_.input(l, name)["experts"][passed[name]++];
        EXPECT_EQ(input["expert"], expert["expert"]);
        pair_.expect_same(expert[name], without(input, {"expert"}), name);
      }
    }
    for (const char* name : {"prompt", "corpus"}) {
      EXPECT_GT(passed[name], 0);
      EXPECT_EQ(pair_.input(l, name)["experts"].size(), passed[name]);
    }
  }
}

TEST_P(OldReport, KeepsItsSummary) {
  const ordered_json &before = old_["summary"], &after = now_["summary"];
  const std::initializer_list<const char*> life = {"found",         "born_layer",       "peak_layer",
                                                   "removed_layer", "massive_channels", "massive_tokens"};
  ASSERT_EQ(after["lives"].size(), 1);
  EXPECT_EQ(after["lives"][0]["input"], "prompt");
  for (const char* field : life) pair_.expect_same(before[field], after["lives"][0][field], field);
  pair_.expect_same(renamed(before["first_nonfinite"]), after["first_nonfinite"], "first_nonfinite");
  for (const char* point : {"resid_out", "down_in"})
    pair_.expect_same(renamed(before["headroom"][point]), after["headroom"][point], point);
  for (const char* field : {"alignment", "sink_rate"}) pair_.expect_same(before[field], after[field], field);
  EXPECT_EQ(before.contains("norms"), after.contains("norms"));
  if (before.contains("norms")) pair_.expect_same(before["norms"], after["norms"], "norms");
}

/// Whoever changes a default of Criteria has to say here what /1 was of.
TEST_P(OldReport, HasTheCriteriaOfItsTime) {
  const nlohmann::json criteria = {
      {"massive_above", 100.0},    {"massive_ratio", 1000.0},    {"outlier_token_ratio", 1000.0},
      {"outlier_key_share", 0.1},  {"sink_epsilon", 0.3},        {"sink_queries", 64},
      {"high_patch_norm", 150.0},  {"found_ratio", 100.0},       {"removed_share", 0.5},
      {"fp16_max", 65504.0},       {"fp8_e4m3_max", 448.0},      {"int8_steps", 127.0},
      {"int8_zero_step", 2.0},     {"step_share", 0.1},          {"super_weight_spike", 50.0},
      {"residual_sink_rms", 6.0},  {"residual_sink_share", 0.5}, {"int8_magnitude", 6.0},
      {"int8_layer_share", 0.25},  {"int8_token_share", 0.06},   {"super_expert_quantile", 0.995},
      {"super_expert_share", 0.1}, {"dormant_head_mass", 0.9},   {"dead_head_share", 0.05}};
  EXPECT_EQ(plain(now_["criteria"]), criteria);
  EXPECT_EQ(now_["definitions"].size(), definitions(Criteria()).size());
}

INSTANTIATE_TEST_SUITE_P(Goldens, OldReport, testing::ValuesIn(kReports),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(OldReports, AreTyped) {
  const Results results = read(report("plain"));
  EXPECT_THAT(results.run.measures, ElementsAre("activations", "attention", "attention_maps", "weights",
                                                "writes", "prompt_values", "alignment"));
  EXPECT_EQ(results.prompt()->tokens[0], "<|bos|>");
  EXPECT_EQ(results.corpus()->sequences, 2);
  // The outlier that tests/apps/tiny.py plants: born by neuron 5 of layer 1 in channel 3, removed by neuron 9
  // of layer 3.
  const Life& life = results.summary.lives.at(0);
  EXPECT_TRUE(life.found);
  EXPECT_EQ(life.born_layer, 1);
  EXPECT_EQ(life.removed_layer, 3);
  EXPECT_THAT(life.massive_channels, ElementsAre(3));
  EXPECT_EQ(life.massive_tokens.at(0).token_class, "initial");
  const Writes& born = *results.layers[1].inputs.find("prompt")->writes;
  EXPECT_EQ(born.largest.channel, 3);
  EXPECT_EQ(born.largest.neurons.at(0).neuron, 5);
  EXPECT_FALSE(born.largest.neurons[0].expert.has_value());
  EXPECT_EQ(results.layers[3].inputs.find("prompt")->writes->followed->neurons.at(0).neuron, 9);
  EXPECT_FALSE(results.layers[0].inputs.find("prompt")->writes->followed.has_value());
  EXPECT_EQ(results.layers[1].weights->modules.find("down")->axis, Axis::row);
  EXPECT_EQ(results.layers[1].weights->modules.find("down")->index, 3);
  EXPECT_EQ(results.layers[1].weights->modules.find("down")->top_columns.at(0).column, 5);
  EXPECT_EQ(results.told_layers(), 4);
  EXPECT_FALSE(results.images.has_value());
}

TEST(OldReports, AreTypedWithExpertsImagesAndWhatIsNotFinite) {
  const Results experts = read(report("experts"));
  EXPECT_EQ(experts.model.experts->count, 6);
  EXPECT_TRUE(experts.layers[0].weights->experts.back().expert.is_shared());
  EXPECT_TRUE(experts.layers[0].weights->router.has_value());
  EXPECT_TRUE(experts.layers[0].inputs.find("prompt")->down_in->top.at(0).expert.has_value());
  EXPECT_THAT(experts.run.measures, testing::Contains("experts"));

  const Results images = read(report("images"));
  EXPECT_EQ(images.model.vision->registers, 3);
  EXPECT_EQ(images.layers[1].inputs.find("corpus")->norms->registers->each.size(), 3);
  EXPECT_EQ(images.layers[1].inputs.find("corpus")->norms->patches.largest.token_class, "patch");
  EXPECT_EQ(images.summary.norms->layer, 1);
  EXPECT_THAT(images.run.measures, testing::Contains("norms"));

  const Results overflow = read(report("overflow"));
  EXPECT_EQ(overflow.summary.first_nonfinite->layer, 2);
  EXPECT_EQ(overflow.summary.first_nonfinite->point, "down_out");
  EXPECT_EQ(overflow.summary.first_nonfinite->input, "prompt");
  EXPECT_EQ(overflow.summary.first_nonfinite->before->point, "down_in");
  EXPECT_EQ(overflow.told_layers(), 2);
  EXPECT_GT(overflow.layers[2].inputs.find("corpus")->resid_out->nonfinite, 0);
}

class BrokenOldReport : public testing::Test {
 protected:
  template <typename Change>
  std::filesystem::path changed(Change&& change, const char* name = "plain") {
    ordered_json json = ordered_json::parse(tests::read_file(report(name)));
    change(json);
    tests::write_file(scratch_ / "results.json", json.dump());
    return scratch_ / "results.json";
  }
  template <typename Change>
  std::string refusal(Change&& change, const char* name = "plain") {
    const std::string message = tests::error_of([&] { read(changed(change, name)); });
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(BrokenOldReport, ThatLacksWhatCameLaterIsRead) {
  const Results results = read(changed([](ordered_json& r) {
    for (const char* field : {"machine", "weight_bytes_read"}) r["run"].erase(field);
    for (const char* field : {"first_nonfinite", "sink_rate"}) r["summary"].erase(field);
    for (const char* field : {"batch", "nonfinite"}) r["summary"]["headroom"]["down_in"].erase(field);
    r["summary"]["headroom"]["resid_out"] = nullptr;
    for (ordered_json& layer : r["activations"]["corpus"]["down_in"]) layer.erase("massive_tokens");
    r["attention"]["prompt"]["probs_mean"] = nullptr;
  }));
  EXPECT_FALSE(results.run.machine.has_value());
  EXPECT_FALSE(results.summary.first_nonfinite.has_value());
  EXPECT_FALSE(results.summary.sink_rate.has_value());
  EXPECT_EQ((*results.summary.headroom.find("down_in"))->input, "");
  EXPECT_EQ((*results.summary.headroom.find("down_in"))->nonfinite, 0);
  EXPECT_FALSE(results.summary.headroom.find("resid_out")->has_value());
  EXPECT_TRUE(results.layers[0].inputs.find("corpus")->down_in->massive_tokens.empty());
  EXPECT_FALSE(results.prompt()->attention_maps);
  EXPECT_THAT(results.run.measures, testing::Not(testing::Contains("attention_maps")));
}

TEST_F(BrokenOldReport, IsRefusedWithTheFieldAsItIsToday) {
  const std::string as = "results.json (of outliers-results/1, read as outliers-results/2): ";
  const auto says = [&](const std::string& what) { return HasSubstr(as + what); };
  EXPECT_THAT(refusal([](auto& r) { r["activations"]["corpus"]["resid_out"][1].erase("top"); }),
              says("layers[1].inputs.corpus.resid_out.top is missing"));
  EXPECT_THAT(refusal([](auto& r) { r["run"]["sequences"] = "x"; }),
              says("inputs[1].sequences is \"x\"; it should be a whole number"));
  EXPECT_THAT(refusal([](auto& r) { r["run"]["device"] = "gpu"; }), says("run.device is \"gpu\""));
  EXPECT_THAT(refusal([](auto& r) { r["writes"].erase(3); }),
              says("layers[3].inputs.prompt.writes is null; it should be an object"));
  EXPECT_THAT(refusal([](auto& r) { r["writes"].push_back(r["writes"][0]); }),
              says("layers[4].weights is null; it should be an object"));
  EXPECT_THAT(refusal([](auto& r) { r["norms"]["corpus"] = r["writes"]; }),
              says("layers[0].inputs.prompt.norms is null; it should be an object"));
  EXPECT_THAT(refusal([](auto& r) { r["attention"]["corpus"][2]["layer"] = 1; }),
              says("layers[2].layer is 1; layers stand in order, from 0"));
  EXPECT_THAT(refusal([](auto& r) { r["prompt"].erase("ids"); }),
              says("inputs[0].tokens_per_sequence is missing"));
  EXPECT_THAT(refusal([](auto& r) { r.erase("weights"); }),
              says("layers[0].weights is null; it should be an object"));
  EXPECT_THAT(refusal([](auto& r) { r["weights"][0]["experts"][0]["corpus"] = 3; }, "experts"),
              says("layers[0].inputs.corpus.experts[0]"));
  for (const char* part :
       {"model", "run", "prompt", "activations", "attention", "writes", "weights", "summary"}) {
    EXPECT_THAT(refusal([&](auto& r) { r.erase(part); }), says("")) << part;
    for (const ordered_json& other : {ordered_json(3), ordered_json("x"), ordered_json(nullptr),
                                      ordered_json::array(), ordered_json::object(), ordered_json({1, "x"})})
      EXPECT_THAT(refusal([&](auto& r) { r[part] = other; }), says("")) << part << other;
  }
}

TEST_F(BrokenOldReport, OfManyLayersIsRefusedAtOnce) {
  // Were they converted before the first is looked at, they would take some gigabytes.
  const ordered_json many = ordered_json::array_t(1'000'000);
  EXPECT_THAT(refusal([&](auto& r) { r["writes"] = many; }),
              HasSubstr("layers[0].inputs.prompt.writes is null; it should be an object"));
}

}  // namespace
}  // namespace outliers::results
