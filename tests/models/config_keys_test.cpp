// Which keys of config.json count, and which goes first of two, as transformers has it
// (tests/oracle/models_config_keys.py).
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/warning.h"
#include "outliers/models/config_reader.h"

#include "json_mutations.h"
#include "support.h"

namespace outliers::models {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What reading a config.json gives: the model, or the reason why there is none, and what is warned of.
struct Reading {
  Config config;
  std::string error;
  std::vector<std::string> warnings;
};

Reading read(const json& config) {
  Reading reading;
  // The file's name differs each time, since a warning is given once.
  static int number = 0;
  const std::string where = fmt::format("{}/config.json", number++);
  const WarningHandler before =
      set_warning_handler([&](const std::string& message) { reading.warnings.push_back(message); });
  try {
    reading.config = describe_hugging_face(config.dump(), where).config;
  } catch (const Error& error) {
    reading.error = error.what();
  }
  set_warning_handler(before);
  return reading;
}

json with(json base, const json& keys) {
  // Both name one object: its keys are joined.
  base.merge_patch(keys);
  return base;
}

json small_llama() {
  return {{"model_type", "llama"},  {"hidden_size", 32}, {"intermediate_size", 48},
          {"num_hidden_layers", 2}, {"vocab_size", 60},  {"num_attention_heads", 4}};
}

class ConfigKeys : public testing::Test {
 protected:
  ConfigKeys() : golden_(json::parse(std::ifstream(tests::golden("models/config_keys.json")))) {}
  json base_of(const json& row) { return golden_["bases"][row[0].get<size_t>()]; }
  json golden_;
};

TEST_F(ConfigKeys, ThatTheClassReadsChangeTheModel) {
  size_t refused = 0;
  for (const json& row : golden_["read"]) {
    json changed = base_of(row);
    changed.update(row[1]);
    const Reading plain = read(base_of(row)), got = read(changed);
    ASSERT_EQ(plain.error, "");
    EXPECT_THAT(plain.warnings, IsEmpty()) << row;
    refused += got.error.empty() ? 0 : 1;
    if (!got.error.empty()) continue;
    EXPECT_NE(plain.config, got.config) << row;
  }
  EXPECT_LE(refused, 1u) << "what is read and not computed is refused: heads of another width in GPT-NeoX";
}

TEST_F(ConfigKeys, ThatTheClassDoesNotReadAreIgnoredAndNamed) {
  // Of these some values of the table say what holds anyway, or count beside others only.
  const std::set<std::string> may_be_silent = {"activation",
                                               "activation_function",
                                               "attention_bias",
                                               "hidden_act",
                                               "hidden_activation",
                                               "max_window_layers",
                                               "mlp_bias",
                                               "multi_query",
                                               "n_layer",
                                               "n_layers",
                                               "original_max_position_embeddings",
                                               "parallel_attn",
                                               "qkv_bias",
                                               "sliding_window",
                                               "sliding_window_pattern",
                                               "tie_word_embeddings",
                                               "use_parallel_residual",
                                               "use_qkv_bias"};
  for (const json& row : golden_["ignored"]) {
    json changed = base_of(row);
    changed.update(row[1]);
    const std::string key = row[1].begin().key();
    const Reading plain = read(base_of(row)), got = read(changed);
    EXPECT_EQ(got.error, "") << row;
    EXPECT_EQ(plain.config, got.config) << row;
    EXPECT_LE(got.warnings.size(), 1u) << row;
    for (const std::string& warning : got.warnings) EXPECT_THAT(warning, HasSubstr(key));
    EXPECT_TRUE(!got.warnings.empty() || may_be_silent.count(key) > 0) << row;
  }
}

TEST_F(ConfigKeys, ThatAreSaidTwiceAreTakenOnce) {
  for (const json& row : golden_["twice"]) {
    const Reading got = read(with(with(row[0], row[2]), row[1])), wanted = read(with(row[0], row[1]));
    EXPECT_EQ(got.error, "") << row;
    EXPECT_EQ(got.config, wanted.config) << row;
    ASSERT_FALSE(got.warnings.empty()) << row;
    for (const auto& [key, value] : row[2].items()) {
      if (row[1].contains(key) && !value.is_object()) continue;
      EXPECT_THAT(fmt::format("{}", fmt::join(got.warnings, "\n")), HasSubstr(key)) << row;
    }
  }
}

TEST(OuterConfig, CountsWhereTransformersLooksThere) {
  const json text = {{"hidden_size", 640}, {"num_hidden_layers", 2}};
  const json wrapper = {
      {"model_type", "gemma3"}, {"text_config", text}, {"sliding_window", 7}, {"vocab_size", 9}};
  const Reading gemma = read(wrapper);
  EXPECT_EQ(gemma.config, read({{"model_type", "gemma3"}, {"text_config", text}}).config);
  ASSERT_EQ(gemma.warnings.size(), 2u);
  EXPECT_THAT(gemma.warnings[0], HasSubstr("'sliding_window' is ignored: 'text_config: sliding_window'"));
  // Of a Llama nothing stands within.
  json llama = small_llama();
  const Reading plain = read(llama);
  llama["text_config"] = {{"hidden_size", 8}};
  EXPECT_EQ(read(llama).config, plain.config);
  // A wrapper that says nothing holds the model of the defaults, whatever stands around.
  EXPECT_EQ(read({{"model_type", "gemma3"}, {"text_config", nullptr}}).config.width, 2304);
  const Reading clip = read({{"model_type", "clip"},
                             {"vision_config", {{"hidden_size", 64}, {"patch_size", 8}}},
                             {"vision_config_dict", {{"hidden_size", 96}, {"patch_size", 8}}}});
  EXPECT_EQ(clip.config.width, 96);
  ASSERT_EQ(clip.warnings.size(), 1u);
  EXPECT_THAT(clip.warnings[0], HasSubstr("'vision_config: hidden_size' is ignored: 'vision_config_dict'"));
}

TEST(ConfigNull, IsWhatNoneIsInPython) {
  const auto change = [](const char* model, const json& keys) {
    json config = {{"model_type", model},          {"hidden_size", 32}, {"intermediate_size", 48},
                   {"num_hidden_layers", 2},       {"vocab_size", 60},  {"num_attention_heads", 4},
                   {"max_position_embeddings", 64}};
    config.update(keys);
    return read(config);
  };
  EXPECT_THAT(change("mistral", {{"sliding_window", nullptr}, {"num_key_value_heads", 2}}).config.windows,
              ElementsAre(0, 0));
  EXPECT_EQ(change("gemma2", {{"attn_logit_softcapping", nullptr}}).config.attention_softcap, 0);
  EXPECT_EQ(change("smollm3", {{"num_key_value_heads", nullptr}}).config.kv_heads, 4);
  EXPECT_EQ(change("falcon", {{"multi_query", nullptr}}).config.kv_heads, 4);
  EXPECT_EQ(
      change("gpt_oss", {{"num_key_value_heads", 2}, {"rope_scaling", nullptr}, {"rope_parameters", nullptr}})
          .config.rotaries[0]
          .scaling,
      "yarn");
  EXPECT_EQ(change("llama", {{"rope_scaling", json::object()}}).config.rotaries[0].scaling, "");
  EXPECT_THAT(change("llama", {{"rms_norm_eps", nullptr}}).error, HasSubstr("'rms_norm_eps' is null"));
}

TEST(ConfigMutations, AreReadOrRefused) {
  const WarningHandler before = set_warning_handler([](const std::string&) {});
  tests::Mutations mutations;
  for (const auto& folder : std::filesystem::directory_iterator(tests::golden("models"))) {
    if (!std::filesystem::exists(folder.path() / "config.json")) continue;
    mutations.count(json::parse(std::ifstream(folder.path() / "config.json")), "config.json",
                    [](const json& config) { describe_hugging_face(config.dump(), "config.json"); });
  }
  set_warning_handler(before);
  EXPECT_GT(mutations.read, 1000u);
  EXPECT_GT(mutations.refused, 1000u);
}

}  // namespace
}  // namespace outliers::models
