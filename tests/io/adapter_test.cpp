// LoRA adapters against PEFT's merge_and_unload: tests/oracle/io_adapters.py.
#include "outliers/io/adapter.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/core/warning.h"
#include "outliers/io/npz.h"
#include "outliers/io/safetensors.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::HasSubstr;

std::filesystem::path folder(const std::string& name) {
  return tests::golden("io/adapters/" + name);
}

/// What the adapter was trained on.
std::string base_name(const std::string& name) {
  std::string base = tests::read_file(folder(name) / "base.txt");
  base.pop_back();
  return base;
}

std::unique_ptr<Checkpoint> base_of(const std::string& name) {
  const std::string base = base_name(name);
  return Checkpoint::open(base == "gpt2" ? tests::golden("io/adapters/gpt2.safetensors")
                                         : tests::golden("models/" + base + "/model.safetensors"));
}

AdapterBase layout_of(const std::string& name) {
  AdapterBase layout;
  layout.transposed = base_name(name) == "gpt2";
  if (base_name(name) == "llama_tied") {
    layout.embedding = "model.embed_tokens.weight";
    layout.tied_head = "lm_head.weight";
  }
  return layout;
}

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(tests::golden("io/adapters"))) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Adapter : public testing::TestWithParam<std::string> {};

TEST_P(Adapter, EqualsPeft) {
  const std::string name = GetParam();
  const auto quiet = set_warning_handler([](const std::string&) {});
  const auto base = base_of(name), merged = adapted(base_of(name), folder(name), layout_of(name));
  set_warning_handler(quiet);
  const NpzReader wanted(folder(name) / "merged.npz");
  size_t changed = 0;
  for (const TensorInfo& info : base->tensors()) EXPECT_NE(merged->find(info.name), nullptr);
  for (const TensorInfo& info : merged->tensors()) {
    const at::Tensor got = merged->load(info.name, at::kFloat);
    if (!wanted.has(info.name)) {
      ASSERT_NE(base->find(info.name), nullptr) << info.name << " should not be there";
      EXPECT_TRUE(at::equal(got, base->load(info.name, at::kFloat))) << info.name << " should be the base's";
      continue;
    }
    ++changed;
    const at::Tensor values = wanted.read(info.name);
    EXPECT_TRUE(at::allclose(got, values, 1e-6, 2e-6))
        << info.name << " differs by " << (got - values).abs().max();
    EXPECT_TRUE(at::allclose(merged->load(info.name, at::kDouble), values.to(at::kDouble), 1e-6, 2e-6))
        << info.name;
    if (values.dim() == 2) {
      EXPECT_TRUE(at::allclose(merged->load_row_range(info.name, 1, 3, at::kFloat), values.narrow(0, 1, 2),
                               1e-6, 2e-6));
    }
  }
  EXPECT_EQ(changed, wanted.names().size());
}

INSTANTIATE_TEST_SUITE_P(Cases, Adapter, testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param; });

class AdapterRefusals : public testing::Test {
 protected:
  AdapterRefusals() { std::filesystem::copy(folder("plain"), scratch_ / "a"); }
  /// The adapter "plain" with config[key] = value, merged.
  std::unique_ptr<Checkpoint> merged_with(const std::string& key, const std::string& value) {
    auto config = nlohmann::json::parse(tests::read_file(folder("plain") / "adapter_config.json"));
    config[key] = nlohmann::json::parse(value);
    tests::write_file(scratch_ / "a/adapter_config.json", config.dump());
    return adapted(base_of("plain"), scratch_ / "a");
  }
  /// What is said of it.
  std::string with(const std::string& key, const std::string& value) {
    return tests::error_of([&] { merged_with(key, value); });
  }
  std::string message(const std::string& base = "plain") {
    return tests::error_of([&] { adapted(base_of(base), scratch_ / "a"); });
  }
  void write(const std::vector<TensorPlan>& plan) {
    SafetensorsWriter writer(scratch_ / "a/adapter_model.safetensors", true, plan);
    for (const TensorPlan& t : plan) writer.add(t.name, at::zeros(t.shape, t.dtype));
    writer.commit();
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(AdapterRefusals, OptionsByName) {
  EXPECT_THAT(with("peft_type", R"("IA3")"), HasSubstr("of the kind 'IA3'"));
  for (const char* start : {"pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "new"}) {
    EXPECT_THAT(with("init_lora_weights", fmt::format("\"{}\"", start)),
                HasSubstr(fmt::format("'init_lora_weights' is '{}', which changes the base", start)));
  }
  EXPECT_THAT(with("init_lora_weights", "3"),
              HasSubstr("'init_lora_weights' should be true, false or a text"));
  EXPECT_THAT(with("bias", R"("some")"), HasSubstr("'bias' should be"));
  EXPECT_THAT(with("r", "0"), HasSubstr("'r' should be a positive whole number"));
  EXPECT_THAT(with("lora_alpha", R"("x")"), HasSubstr("'lora_alpha' should be a number"));
  EXPECT_THAT(with("rank_pattern", R"({"(q_proj": 2})"),
              HasSubstr("'rank_pattern' has the regular expression"));
  EXPECT_THAT(with("rank_pattern", "3"), HasSubstr("'rank_pattern' should be an object"));
  EXPECT_THAT(with("target_modules", "3"), HasSubstr("'target_modules' should be a text or a list of texts"));
  EXPECT_THAT(with("use_dora", "true"), HasSubstr("has no lora_magnitude_vector, but 'use_dora' is true"));
  EXPECT_THAT(with("lora_bias", "true"), HasSubstr("has no lora_B.bias, but 'lora_bias' is true"));
  EXPECT_THAT(with("use_rslora", "1"), HasSubstr("'use_rslora' should be true or false"));
  EXPECT_THAT(with("layers_to_transform", "[-1]"), HasSubstr("'layers_to_transform' should be a list"));
}

// Every field of PEFT's LoraConfig is known: at its default it changes nothing and needs no warning.
TEST_F(AdapterRefusals, EveryOptionOfPeft) {
  const std::vector<std::string> refused = {"megatron_config",   "alora_invocation_tokens",
                                            "use_qalora",        "layer_replication",
                                            "target_parameters", "use_bdlora",
                                            "arrow_config",      "kasa_config"};
  std::vector<std::string> warnings;
  const auto before = set_warning_handler([&](const std::string& text) { warnings.push_back(text); });
  const auto options = nlohmann::json::parse(tests::read_file(tests::golden("io/adapters/options.json")));
  const auto own = nlohmann::json::parse(tests::read_file(folder("plain") / "adapter_config.json"));
  for (const auto& [name, value] : options.items()) {
    const auto& usual = own.contains(name) ? own[name] : value;
    EXPECT_NO_THROW(merged_with(name, usual.dump())) << name;
    const bool is_refused = std::find(refused.begin(), refused.end(), name) != refused.end();
    if (is_refused) {
      const std::string on = name == "use_qalora" ? "true" : R"({"some": 1})";
      EXPECT_THAT(with(name, on), HasSubstr(fmt::format("'{}' is not supported", name)));
    }
  }
  EXPECT_THAT(warnings, testing::IsEmpty());
  // What a newer PEFT may add.
  EXPECT_NO_THROW(merged_with("newer", "false"));
  EXPECT_NO_THROW(merged_with("newer_config", "null"));
  EXPECT_NO_THROW(merged_with("newer_size", "16"));
  EXPECT_THAT(warnings, testing::ElementsAre(HasSubstr("the option 'newer_size' is not known")));
  EXPECT_THAT(with("newer", "true"), HasSubstr("the option 'newer' is not known here, and may change"));
  EXPECT_THAT(with("newer_config", R"({"a": 1})"), HasSubstr("'newer_config' is not known"));
  set_warning_handler(before);
}

// Options that say how the adapter was trained, or what its untrained start was.
TEST_F(AdapterRefusals, OptionsWithoutEffect) {
  const NpzReader wanted(folder("plain") / "merged.npz");
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"task_type", R"("CAUSAL_LM")"},
                                          {"auto_mapping", R"({"base_model_class": "LlamaModel"})"},
                                          {"peft_version", R"("0.3.0")"},
                                          {"base_model_name_or_path", R"("org/name")"},
                                          {"revision", R"("main")"},
                                          {"inference_mode", "false"},
                                          {"lora_dropout", "0.5"},
                                          {"megatron_core", R"("megatron.core")"},
                                          {"loftq_config", R"({"loftq_bits": 4})"},
                                          {"eva_config", R"({"rho": 2.0})"},
                                          {"corda_config", R"({"corda_method": "kpm"})"},
                                          {"lora_ga_config", R"({"direction": "ArB2r"})"},
                                          {"qalora_group_size", "32"},
                                          {"monteclora_config", R"({"num_samples": 4})"},
                                          {"velora_config", R"({"num_groups": 2})"},
                                          {"runtime_config", R"({"ephemeral_gpu_offload": true})"},
                                          {"merge_weights", "true"},
                                          {"init_lora_weights", R"("eva")"},
                                          {"ensure_weight_tying", "true"}}) {
    const auto merged = merged_with(name, value);
    for (const std::string& tensor : wanted.names())
      EXPECT_TRUE(at::allclose(merged->load(tensor, at::kFloat), wanted.read(tensor), 1e-6, 1e-6)) << name;
  }
}

TEST_F(AdapterRefusals, EveryTensorInOneMessage) {
  EXPECT_THAT(with("r", "4"),
              testing::AllOf(HasSubstr("6 of its tensors do not fit"), HasSubstr("not of rank 4"),
                             HasSubstr("self_attn.v_proj"), HasSubstr("mlp.down_proj")));
  EXPECT_THAT(message("fan_in_fan_out"), HasSubstr("is no tensor of the model"));
  with("r", "4");
  write({{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", {4, 30}, at::kFloat},
         {"base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", {4, 31}, at::kFloat},
         {"base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", {16, 4}, at::kFloat},
         {"base_model.model.model.norm.weight", {31}, at::kFloat},
         {"base_model.model.strange.weight", {3}, at::kFloat}});
  EXPECT_THAT(message(),
              testing::AllOf(HasSubstr("4 of its tensors"), HasSubstr("q_proj has no lora_B"),
                             HasSubstr("v_proj.weight is [16, 30], and the adapter's B A [16, 31]"),
                             HasSubstr("model.norm.weight is [30], in the adapter [31]"),
                             HasSubstr("strange.weight is no tensor")));
  // Two names of one tensor.
  write({{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", {4, 30}, at::kFloat},
         {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", {48, 4}, at::kFloat},
         {"layers.0.self_attn.q_proj.lora_A.weight", {4, 30}, at::kFloat},
         {"layers.0.self_attn.q_proj.lora_B.weight", {48, 4}, at::kFloat},
         {"base_model.model.model.norm.weight", {30}, at::kFloat},
         {"norm.weight", {30}, at::kFloat}});
  EXPECT_THAT(message(), testing::AllOf(HasSubstr("2 of its tensors"), HasSubstr("q_proj occurs twice"),
                                        HasSubstr("norm.weight occurs twice")));
  // Tensors of two adapters.
  write({{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.one.weight", {4, 30}, at::kFloat},
         {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.two.weight", {48, 4}, at::kFloat}});
  EXPECT_THAT(message(), HasSubstr("holds 2 adapters (one, two)"));
}

TEST_F(AdapterRefusals, FieldsThatNobodyNeeds) {
  auto config = tests::read_file(folder("plain") / "adapter_config.json");
  config.replace(config.find('{'), 1,
                 "{\"revision\": Infinity, \"note\": NaN, \"bits\": -1" + std::string(30, '0') + ",");
  tests::write_file(scratch_ / "a/adapter_config.json", config);
  EXPECT_NO_THROW(adapted(base_of("plain"), scratch_ / "a"));
  config.replace(config.find("{"), 1, "{\"r\": 5,");  // the file's own r comes later
  tests::write_file(scratch_ / "a/adapter_config.json", config);
  EXPECT_NO_THROW(adapted(base_of("plain"), scratch_ / "a"));
}

TEST_F(AdapterRefusals, Files) {
  EXPECT_THAT(tests::error_of([&] { adapted(base_of("plain"), scratch_ / "none"); }),
              HasSubstr("no adapter_config.json"));
  EXPECT_THAT(tests::error_of([&] {
                adapted(Checkpoint::open(tests::golden("models/llama_untied/model.gguf")), folder("plain"));
              }),
              HasSubstr("merged into Hugging Face checkpoints"));
  tests::write_file(scratch_ / "a/adapter_config.json", "[");
  EXPECT_THAT(message(), HasSubstr("adapter_config.json: this is not valid JSON: byte 2"));
  std::filesystem::copy_file(folder("plain") / "adapter_config.json", scratch_ / "a/adapter_config.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(scratch_ / "a/adapter_model.safetensors");
  EXPECT_THAT(message(), HasSubstr("no adapter_model.safetensors or adapter_model.bin"));
}

}  // namespace
}  // namespace outliers::io
