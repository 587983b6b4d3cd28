// Super weights of every family's tiny model against the same search by transformers in float64
// (tests/oracle/eval_super_weights.py).
#include "outliers/studies/super_weights.h"

#include <set>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/io/npz.h"

#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::studies {
namespace {

using nlohmann::json;

json cases() {
  static const json all = json::parse(tests::read_file(tests::golden("eval/super_weights.json")));
  return all;
}

/// null, "shared" or a number, as in the golden.
json expert_of(const std::optional<results::Expert>& expert) {
  if (!expert) return nullptr;
  return expert->is_shared() ? json("shared") : json(expert->number);
}

double close_to(double wanted) {
  return 1e-6 * std::abs(wanted) + 1e-12;
}

run::Input input_of(const models::Model& model, const json& wanted) {
  if (!models::reads_images(model.config()))
    return {"prompt", at::tensor(wanted["ids"].get<std::vector<int64_t>>(), at::kLong).unsqueeze(0)};
  const io::NpzReader reference(
      tests::golden("models/" + wanted["model"].get<std::string>() + "/reference.npz"));
  return run::image_input(model.config(), "prompt", reference.read("pixel_values").narrow(0, 0, 1));
}

TEST(SuperWeights, AreThoseThatTransformersFinds) {
  std::set<std::string> names, kinds;
  for (const json& wanted : cases()) {
    const auto name = wanted["model"].get<std::string>();
    names.insert(name);
    const auto model = models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
    Criteria criteria;
    criteria.super_weight_spike = wanted["spike"].get<double>();
    run::RunOptions options;
    options.dtype = at::kDouble;
    run::RunTimes times;
    const results::SuperWeights got =
        find_super_weights(*model, input_of(*model, wanted), options, criteria, times, /*quiet=*/true);
    EXPECT_EQ(got.input, "prompt");
    EXPECT_GT(times.weight_bytes_read, 0);
    ASSERT_EQ(got.found.size(), wanted["found"].size()) << name;
    for (size_t i = 0; i < got.found.size(); ++i) {
      const results::SuperWeight& one = got.found[i];
      const json& other = wanted["found"][i];
      EXPECT_EQ(one.round, static_cast<int64_t>(i) + 1);
      EXPECT_EQ(one.layer, other["layer"]) << name << " " << i;
      EXPECT_EQ(expert_of(one.expert), other["expert"]) << name << " " << i;
      EXPECT_EQ(one.row, other["row"]) << name << " " << i;
      EXPECT_EQ(one.column, other["column"]) << name << " " << i;
      EXPECT_EQ(one.token, other["token"]) << name << " " << i;
      for (const auto& [value, field] : {std::pair{one.value, "value"}, std::pair{one.down_in, "down_in"},
                                         std::pair{one.down_out, "down_out"}}) {
        const auto number = other[field].get<double>();
        EXPECT_NEAR(value, number, close_to(number)) << name << " " << i << " " << field;
      }
      kinds.insert(!one.expert ? "plain" : one.expert->is_shared() ? "shared" : "expert");
    }
    const json& left = wanted["left"];
    EXPECT_EQ(got.left.layer, left["layer"]) << name;
    EXPECT_EQ(expert_of(got.left.expert), left["expert"]) << name;
    EXPECT_EQ(got.left.channel, left["channel"]) << name;
    EXPECT_EQ(got.left.token, left["token"]) << name;
    EXPECT_NEAR(got.left.down_out, left["down_out"].get<double>(), close_to(left["down_out"].get<double>()))
        << name;
  }
  const std::vector<std::string> all = tests::golden_models();
  EXPECT_EQ(names, std::set<std::string>(all.begin(), all.end()));
  EXPECT_THAT(kinds, testing::ElementsAre("expert", "plain", "shared"));
}

TEST(SuperWeights, AreWrittenAsEdits) {
  results::SuperWeight weight;
  weight.layer = 3;
  weight.row = 5;
  weight.column = 7;
  EXPECT_EQ(run::edits_name({site_of(weight)}), "weight.3.down[row=5,column=7]=zero");
  weight.expert = results::Expert{2};
  EXPECT_EQ(run::edits_name({site_of(weight)}), "weight.3.down[expert=2,row=5,column=7]=zero");
  weight.expert = results::Expert{results::Expert::kShared};
  EXPECT_EQ(run::edits_name({site_of(weight)}), "weight.3.down[expert=shared,row=5,column=7]=zero");
}

TEST(SuperWeights, AreNotFoundWhereNothingSpikes) {
  const auto model = models::Model::open(tests::golden("models/llama_untied/model.safetensors"));
  run::RunTimes times;
  const results::SuperWeights got =
      find_super_weights(*model, {"prompt", at::arange(6).unsqueeze(0)}, {}, {}, times, /*quiet=*/true);
  EXPECT_TRUE(got.found.empty());
  EXPECT_GT(std::abs(got.left.down_out), 0);
  EXPECT_LT(std::abs(got.left.down_out), 50);
}

}  // namespace
}  // namespace outliers::studies
