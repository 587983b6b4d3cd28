// LoRA adapters against PEFT's merge_and_unload: tests/oracle/io_adapters.py.
#include "outliers/io/adapter.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/io/npz.h"
#include "outliers/io/safetensors.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::HasSubstr;

std::filesystem::path folder(const std::string& name) {
  return tests::golden("io/adapters/" + name);
}

std::unique_ptr<Checkpoint> base_of(const std::string& name) {
  return Checkpoint::open(name == "fan_in_fan_out" ? folder(name) / "base.safetensors"
                                                   : tests::golden("models/llama_untied/model.safetensors"));
}

class Adapter : public testing::TestWithParam<const char*> {};

TEST_P(Adapter, EqualsMergeAndUnload) {
  const std::string name = GetParam();
  const auto base = base_of(name), merged = adapted(base_of(name), folder(name));
  const NpzReader wanted(folder(name) / "merged.npz");
  size_t changed = 0;
  ASSERT_EQ(merged->tensors().size(), base->tensors().size());
  for (const TensorInfo& info : base->tensors()) {
    const at::Tensor got = merged->load(info.name, at::kFloat);
    if (!wanted.has(info.name)) {
      EXPECT_TRUE(at::equal(got, base->load(info.name, at::kFloat))) << info.name << " should be the base's";
      continue;
    }
    ++changed;
    const at::Tensor values = wanted.read(info.name);
    EXPECT_TRUE(at::allclose(got, values, 1e-6, 1e-6))
        << info.name << " differs by " << (got - values).abs().max();
    EXPECT_TRUE(at::allclose(merged->load(info.name, at::kDouble), values.to(at::kDouble), 1e-6, 1e-6))
        << info.name;
    if (values.dim() == 2) {
      EXPECT_TRUE(at::allclose(merged->load_row_range(info.name, 1, 3, at::kFloat), values.narrow(0, 1, 2),
                               1e-6, 1e-6));
    }
  }
  EXPECT_EQ(changed, wanted.names().size());
}

INSTANTIATE_TEST_SUITE_P(Cases, Adapter, testing::Values("plain", "rslora", "fan_in_fan_out"),
                         [](const auto& test) { return std::string(test.param); });

class AdapterRefusals : public testing::Test {
 protected:
  AdapterRefusals() { std::filesystem::copy(folder("plain"), scratch_ / "a"); }
  /// The message for the adapter "plain" with config[key] = value.
  std::string with(const std::string& key, const std::string& value) {
    auto config = nlohmann::json::parse(tests::read_file(folder("plain") / "adapter_config.json"));
    config[key] = nlohmann::json::parse(value);
    tests::write_file(scratch_ / "a/adapter_config.json", config.dump());
    return message();
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
  EXPECT_THAT(with("use_dora", "true"), HasSubstr("'use_dora' is not supported"));
  EXPECT_THAT(with("target_parameters", R"(["mlp.experts"])"), HasSubstr("'target_parameters'"));
  EXPECT_THAT(with("peft_type", R"("IA3")"), HasSubstr("of the kind 'IA3'"));
  EXPECT_THAT(with("init_lora_weights", R"("pissa_niter_4")"),
              HasSubstr("'pissa_niter_4', which changes the base"));
  EXPECT_THAT(with("r", "0"), HasSubstr("'r' should be a positive whole number"));
  EXPECT_THAT(with("lora_alpha", R"("x")"), HasSubstr("'lora_alpha' should be a number"));
  EXPECT_THAT(with("rank_pattern", R"({".*q_proj": 2})"), HasSubstr("regular expression .*q_proj"));
  EXPECT_THAT(with("rank_pattern", "3"), HasSubstr("'rank_pattern' should be an object"));
}

TEST_F(AdapterRefusals, EveryTensorInOneMessage) {
  EXPECT_THAT(with("r", "4"),
              testing::AllOf(HasSubstr("6 of its tensors do not fit"), HasSubstr("not of rank 4"),
                             HasSubstr("self_attn.v_proj"), HasSubstr("mlp.down_proj")));
  EXPECT_THAT(message("fan_in_fan_out"), HasSubstr("is no tensor of the model"));
  with("r", "4");
  write({{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", {4, 30}, at::kFloat},
         {"base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", {4, 31}, at::kFloat},
         {"base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight", {16, 4}, at::kFloat},
         {"base_model.model.model.norm.weight", {31}, at::kFloat},
         {"base_model.model.strange.weight", {3}, at::kFloat}});
  EXPECT_THAT(message(),
              testing::AllOf(HasSubstr("4 of its tensors"), HasSubstr("q_proj has no lora_B"),
                             HasSubstr("k_proj.weight is [16, 30], and the adapter's B A [16, 31]"),
                             HasSubstr("model.norm.weight is [30], in the adapter [31]"),
                             HasSubstr("strange.weight is no tensor")));
}

TEST_F(AdapterRefusals, FieldsThatNobodyNeeds) {
  auto config = tests::read_file(folder("plain") / "adapter_config.json");
  config.replace(config.find('{'), 1,
                 "{\"revision\": Infinity, \"note\": [NaN], \"bits\": -1" + std::string(30, '0') + ",");
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
