// Opening checkpoints: what is read, and what is said when a file is not what it should be.
#include "outliers/models/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/core/warning.h"
#include "outliers/io/safetensors.h"
#include "outliers/models/config_reader.h"

#include "models/golden_models.h"
#include "support.h"

namespace outliers::models {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

json config_of(const std::string& name) {
  return json::parse(tests::read_file(tests::golden("models/" + name + "/config.json")));
}

/// A copy of the golden model with its tensors edited.
class EditedModel {
 public:
  explicit EditedModel(const std::string& name) : config(config_of(name)) {
    const std::unique_ptr<io::Checkpoint> checkpoint =
        io::Checkpoint::open(tests::golden("models/" + name + "/model.safetensors"));
    for (const io::TensorInfo& info : checkpoint->tensors()) {
      tensors.emplace_back(info.name, checkpoint->load(info.name, at::kFloat));
    }
  }

  void remove(const std::string& name) {
    std::erase_if(tensors, [&](const auto& item) { return item.first == name; });
  }
  std::pair<std::string, at::Tensor>* embedding() {
    return &*std::find_if(tensors.begin(), tensors.end(), [](const auto& item) {
      return item.first.ends_with("embed_tokens.weight") || item.first.ends_with("wte.weight");
    });
  }
  std::unique_ptr<Model> open() const {
    tests::write_file(scratch_ / "config.json", config.dump());
    std::vector<io::TensorPlan> plan;
    for (const auto& [name, tensor] : tensors)
      plan.push_back({name, tensor.sizes().vec(), tensor.scalar_type()});
    io::SafetensorsWriter writer(scratch_ / "model.safetensors", true, plan);
    for (const auto& [name, tensor] : tensors) writer.add(name, tensor);
    writer.commit();
    return Model::open(scratch_.path());
  }
  std::string error() const {
    return tests::error_of([this] { open(); });
  }

  json config;
  std::vector<std::pair<std::string, at::Tensor>> tensors;

 private:
  tests::ScratchDirectory scratch_;
};

TEST(Model, OpensBothFormatsAlike) {
  for (const std::string& name : tests::golden_models()) {
    const std::filesystem::path folder = tests::golden("models/" + name);
    if (!std::filesystem::exists(folder / "model.gguf")) continue;
    const auto a = Model::open(folder / "model.safetensors"), b = Model::open(folder / "model.gguf");
    EXPECT_EQ(a->config().windows, b->config().windows) << name;
    EXPECT_EQ(a->config().tied_embeddings, b->config().tied_embeddings) << name;
    EXPECT_EQ(a->config().attention_bias, b->config().attention_bias) << name;
    EXPECT_FLOAT_EQ(static_cast<float>(a->config().attention_scale),
                    static_cast<float>(b->config().attention_scale));
    EXPECT_EQ(a->parameters(), b->parameters()) << name;
    for (const StoredWeight& weight : a->weights().all()) {
      // The formats may differ in what they fuse.
      if (weight.name.find(".q.") != std::string::npos && b->config().storage.fused_qkv) continue;
      if (weight.name.find("experts.gate_up.") != std::string::npos && !b->config().storage.fused_experts)
        continue;
      ASSERT_TRUE(b->has(weight.name)) << name << " " << weight.name;
      at::Tensor wanted = a->load(weight.name, at::kFloat);
      if (a->config().storage.norm_less_one && weight.name.find("norm") != std::string::npos)
        wanted = wanted + 1;
      EXPECT_TRUE(at::equal(wanted, b->load(weight.name, at::kFloat))) << name << " " << weight.name;
    }
  }
}

TEST(Model, CountsTiedTensorsOnce) {
  const auto model = Model::open(tests::golden("models/llama_tied/model.safetensors"));
  const Config& c = model->config();
  const int64_t layer =
      c.width * c.head_width * (2 * c.heads + 2 * c.kv_heads) + 3 * c.width * c.mlp_width + 2 * c.width;
  EXPECT_EQ(model->parameters(), c.layers * layer + c.vocabulary * c.width + c.width);
  EXPECT_EQ(model->head().name, "embedding.weight");
}

TEST(Model, SaysWithoutTokenizer) {
  const auto model = Model::open(tests::golden("models/llama_tied/model.safetensors"));
  EXPECT_EQ(model->try_tokenizer(), nullptr);
  EXPECT_THAT(tests::error_of([&] { model->tokenizer(); }), HasSubstr("no tokenizer.json, tokenizer.model"));
}

TEST(Model, ReportsEveryTensorThatIsNotAsItShouldBe) {
  EditedModel edited("llama_tied");
  edited.remove("model.layers.1.mlp.up_proj.weight");
  edited.remove("model.norm.weight");
  edited.tensors.emplace_back("model.layers.0.self_attn.q_norm.weight", at::ones({10}));
  for (auto& [name, tensor] : edited.tensors) {
    if (name == "model.layers.0.self_attn.k_proj.weight") tensor = tensor.slice(0, 0, 5).contiguous();
  }
  EXPECT_THAT(
      edited.error(),
      AllOf(HasSubstr("2 missing (model.norm.weight; model.layers.1.mlp.up_proj.weight)"),
            HasSubstr("1 of another shape (model.layers.0.self_attn.k_proj.weight is [5, 24], should be "
                      "[Hk*d, D] = [10, 24])"),
            HasSubstr("1 unknown (model.layers.0.self_attn.q_norm.weight)"), Not(HasSubstr("\n"))));
}

TEST(Model, ListsAFewOfManyProblems) {
  EditedModel edited("llama_tied");
  edited.config["num_hidden_layers"] = 4;
  const std::string error = edited.error();
  EXPECT_THAT(error, AllOf(HasSubstr("18 missing (model.layers.2."), HasSubstr("; ...)")));
  EXPECT_LT(error.size(), 800u);
}

TEST(Model, TakesTheNamesOtherExportersWrite) {
  EditedModel bare("llama_untied");  // saved without the head's wrapper: no "model."
  for (auto& [name, tensor] : bare.tensors) {
    if (name.rfind("model.", 0) == 0) name = name.substr(6);
  }
  bare.tensors.emplace_back("layers.0.self_attn.rotary_emb.inv_freq", at::ones({4}));
  EXPECT_NE(bare.open(), nullptr);

  EditedModel doubled("llama_tied");  // a tied head that was stored all the same
  doubled.tensors.emplace_back("lm_head.weight", doubled.embedding()->second.clone());
  EXPECT_EQ(doubled.open()->head().stored.front(), "model.embed_tokens.weight");

  EditedModel multimodal("gemma3_plain");
  const json text = multimodal.config;
  multimodal.config = {{"model_type", "gemma3"}, {"text_config", text}};
  for (auto& [name, tensor] : multimodal.tensors) name = "language_model." + name;
  multimodal.tensors.emplace_back("vision_tower.patch.weight", at::ones({3}));
  EXPECT_EQ(multimodal.open()->config().layers, 2);
}

/// What opening and logits of it say.
class HeadTest : public testing::Test {
 protected:
  HeadTest() {
    before_ = set_warning_handler([this](const std::string& message) { warnings_.push_back(message); });
  }
  ~HeadTest() override { set_warning_handler(before_); }
  WarningHandler before_;
  std::vector<std::string> warnings_;
};

TEST_F(HeadTest, ThatIsStoredAndDiffersIsUsed) {
  for (const char* name : {"llama_tied", "gpt2_tied", "gemma_plain", "opt_before", "mpt_alibi"}) {
    EditedModel edited(name);
    const at::Tensor head = edited.embedding()->second.clone();
    edited.tensors.emplace_back("lm_head.weight", head);
    warnings_.clear();
    EXPECT_TRUE(edited.open()->config().tied_embeddings) << name;
    EXPECT_THAT(warnings_, testing::IsEmpty());
    head[-1][-1] += 1;  // the last number, so all of them were looked at
    const auto model = edited.open();
    EXPECT_FALSE(model->config().tied_embeddings) << name;
    EXPECT_EQ(model->head().stored.front(), "lm_head.weight");
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_THAT(warnings_[0], AllOf(HasSubstr("'lm_head.weight' is stored and differs from"),
                                    HasSubstr("tie_word_embeddings")));
  }
  EditedModel alone("llama_tied");  // the one matrix may be called either
  alone.embedding()->first = "lm_head.weight";
  const auto model = alone.open();
  EXPECT_EQ(model->weights().find("embedding.weight")->stored.front(), "lm_head.weight");
  EXPECT_TRUE(model->config().tied_embeddings);
}

TEST_F(HeadTest, HasTwoNamesInGptNeox) {
  EditedModel edited("gpt_neox_parallel");
  const auto head = std::find_if(edited.tensors.begin(), edited.tensors.end(),
                                 [](const auto& item) { return item.first == "embed_out.weight"; });
  head->first = "lm_head.weight";
  EXPECT_EQ(edited.open()->head().stored.front(), "lm_head.weight");
}

TEST_F(HeadTest, KeepsItsBiasWhereItIsTied) {
  EditedModel tied("phi_partial");
  tied.config["tie_word_embeddings"] = true;
  tied.remove("lm_head.weight");
  const auto model = tied.open();
  EXPECT_TRUE(model->config().tied_embeddings && model->has("head.bias") && !model->has("head.weight"));
}

TEST_F(HeadTest, MayBeMissing) {
  for (const bool prefixed : {true, false}) {
    for (const auto& [name, prefix, head] :
         {std::array{"llama_untied", "model.", "lm_head.weight"},
          std::array{"phi_norms", "model.", "lm_head.weight"},
          std::array{"gpt_neox_parallel", "gpt_neox.", "embed_out.weight"}}) {
      EditedModel edited(name);
      std::erase_if(edited.tensors, [&](const auto& item) { return !item.first.starts_with(prefix); });
      for (auto& [stored, tensor] : edited.tensors) {
        if (!prefixed) stored = stored.substr(std::string(prefix).size());
      }
      const auto model = edited.open();
      EXPECT_FALSE(has_head(model->config())) << name;
      EXPECT_EQ(model->config().missing_head, head);
    }
  }
}

TEST_F(HeadTest, IsTiedByTheOuterConfig) {
  const json text = {{"tie_word_embeddings", false}};
  const auto tied = [&](const json& outer, const json& inner) {
    json config = {{"model_type", "gemma3"}, {"text_config", inner}};
    config.update(outer);
    return describe_hugging_face(config.dump(), fmt::format("c{}", warnings_.size())).config.tied_embeddings;
  };
  EXPECT_TRUE(tied(json::object(), json::object()));
  EXPECT_TRUE(tied(json::object(), text));
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_THAT(warnings_[0],
              HasSubstr("'text_config: tie_word_embeddings' is ignored: 'tie_word_embeddings'"));
  EXPECT_FALSE(tied(text, {{"tie_word_embeddings", true}}));
  EXPECT_EQ(warnings_.size(), 2u);
  EXPECT_FALSE(tied({{"tie_word_embeddings", nullptr}}, json::object()));
  EXPECT_EQ(warnings_.size(), 2u);
}

TEST(Model, TakesWhatOlderExportersOfOtherFamiliesWrote) {
  EditedModel gpt2("gpt2_tied");  // OpenAI's names, with the masks
  for (auto& [name, tensor] : gpt2.tensors) name = name.substr(std::string("transformer.").size());
  gpt2.tensors.emplace_back("h.0.attn.bias", at::ones({1, 1, 12, 12}));
  gpt2.tensors.emplace_back("h.1.attn.masked_bias", at::ones({1}));
  EXPECT_NE(gpt2.open(), nullptr);

  EditedModel opt("opt_after");
  for (auto& [name, tensor] : opt.tensors) name = name.substr(std::string("model.").size());
  EXPECT_NE(opt.open(), nullptr);
}

TEST(Model, TakesWhatOthersWroteOfModelsOfImages) {
  EditedModel clip("clip_vision_alone");  // before version 5, with the positions' numbers
  for (auto& [name, tensor] : clip.tensors) name = "vision_model." + name;
  clip.tensors.emplace_back("vision_model.embeddings.position_ids", at::arange(10).to(at::kFloat));
  clip.tensors.emplace_back("visual_projection.weight", at::ones({8, 24}));
  EXPECT_NE(clip.open(), nullptr);

  EditedModel bare("dinov2_head");  // without the head, and so without a prefix
  for (auto& [name, tensor] : bare.tensors) {
    if (name.starts_with("dinov2.")) name = name.substr(7);
  }
  bare.remove("classifier.weight");
  bare.remove("classifier.bias");
  bare.remove("embeddings.mask_token");
  EXPECT_NE(bare.open(), nullptr);

  EditedModel vit("vit_rectangle");
  vit.remove("vit.embeddings.cls_token");
  for (auto& [name, tensor] : vit.tensors) {
    if (name.ends_with("projection.weight")) tensor = tensor.transpose(2, 3).contiguous();
  }
  vit.tensors.emplace_back("vit.encoder.layer.0.layer_scale1.lambda1", at::ones({24}));
  EXPECT_THAT(
      vit.error(),
      AllOf(HasSubstr("1 missing (vit.embeddings.cls_token)"),
            HasSubstr("projection.weight is [24, 3, 5, 4], should be [D, C*ph*pw], here = [24, 3, 4, 5]"),
            HasSubstr("1 unknown (vit.encoder.layer.0.layer_scale1.lambda1)")));
}

TEST(Model, NamesPartsOfOneWeightAndTransposedShapes) {
  EditedModel heads("stablelm_parallel");
  heads.remove("model.layers.1.self_attn.q_layernorm.norms.3.weight");
  EXPECT_THAT(heads.error(), HasSubstr("1 missing (model.layers.1.self_attn.q_layernorm.norms.3.weight)"));

  EditedModel gpt2("gpt2_tied");
  for (auto& [name, tensor] : gpt2.tensors) {
    if (name == "transformer.h.0.mlp.c_fc.weight") tensor = tensor.t().contiguous();
  }
  EXPECT_THAT(gpt2.error(), HasSubstr("h.0.mlp.c_fc.weight is [28, 20], should be [F, D], here = [20, 28]"));
}

TEST(Model, ReadsExpertsStoredApartAndStacked) {
  EditedModel edited("mixtral_experts");
  const auto apart = edited.open();
  const int64_t E = apart->config().experts.count;
  // As the model has them in memory, and newer versions of transformers may save them.
  std::erase_if(edited.tensors, [](const auto& item) {
    return item.first.find("block_sparse_moe.experts") != std::string::npos;
  });
  for (auto& [name, tensor] : edited.tensors) {
    if (const size_t at = name.find("block_sparse_moe"); at != std::string::npos) name.replace(at, 16, "mlp");
  }
  for (int64_t layer = 0; layer < 2; ++layer) {
    const auto load = [&](const char* module) {
      return apart->load(fmt::format("layer.{}.experts.{}.weight", layer, module), at::kFloat);
    };
    const std::string mlp = fmt::format("model.layers.{}.mlp.experts.", layer);
    edited.tensors.emplace_back(mlp + "gate_up_proj", at::cat({load("gate"), load("up")}, 1));
    edited.tensors.emplace_back(mlp + "down_proj", load("down"));
  }
  const auto stacked = edited.open();
  EXPECT_EQ(stacked->parameters(), apart->parameters());
  for (int64_t e = 0; e < E; ++e) {
    const auto part = [&](const Model& model, const char* module) {
      return model.load_expert(fmt::format("layer.1.experts.{}.weight", module), e, at::kFloat);
    };
    EXPECT_TRUE(at::equal(part(*stacked, "down"), part(*apart, "down"))) << e;
    EXPECT_TRUE(at::equal(part(*stacked, "gate_up"), at::cat({part(*apart, "gate"), part(*apart, "up")})))
        << e;
  }

  EditedModel lacking("mixtral_experts");
  lacking.remove("model.layers.1.block_sparse_moe.experts.3.w2.weight");
  EXPECT_THAT(lacking.error(), HasSubstr("1 missing (model.layers.1.block_sparse_moe.experts.3.w2.weight)"));
}

TEST(Model, NamesAMissingConfig) {
  tests::ScratchDirectory scratch;
  std::filesystem::copy(tests::golden("models/llama_tied/model.safetensors"), scratch / "model.safetensors");
  EXPECT_THAT(tests::error_of([&] { Model::open(scratch.path()); }), HasSubstr("there is no config.json"));
}

/// The message about a GGUF in which every `from` is replaced by `to` of the same length.
std::string error_of_gguf(const std::string& name, const std::string& from, const std::string& to) {
  std::string bytes = tests::read_file(tests::golden("models/" + name + "/model.gguf"));
  for (size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from, at + 1))
    bytes.replace(at, from.size(), to);
  const tests::ScratchDirectory scratch;
  tests::write_file(scratch / "model.gguf", bytes);
  return tests::error_of([&] { Model::open(scratch / "model.gguf"); });
}

TEST(Model, RefusesGgufsItWouldComputeWrongly) {
  EXPECT_THAT(error_of_gguf("llama_tied", "llama", "mamba"),
              AllOf(HasSubstr("'mamba'"), HasSubstr("known: llama, qwen2, qwen3")));
  EXPECT_THAT(error_of_gguf("llama_tied", "llama.rope.scaling.type", "clip.has_vision_encoder"),
              HasSubstr("image tower of a multimodal model (mmproj)"));
  EXPECT_THAT(error_of_gguf("llama_tied", "linear", "cosine"),
              HasSubstr("rotary scaling 'cosine' is not supported"));
  EXPECT_THAT(error_of_gguf("llama_tied", "llama.block_count", "llama.clock_count"),
              HasSubstr("lacks 'llama.block_count'"));
  EXPECT_THAT(error_of_gguf("llama_tied", "llama.context_length", "llama.expert_countxx"),
              HasSubstr("lacks 'llama.context_length'"));
  EXPECT_THAT(error_of_gguf("mixtral_experts", "llama.expert_used_count", "llama.expert_lost_count"),
              HasSubstr("lacks 'llama.expert_used_count'"));
  using namespace std::string_literals;
  EXPECT_THAT(error_of_gguf("qwen2_moe_shared", "gating_func\4\0\0\0\1"s, "gating_func\4\0\0\0\2"s),
              HasSubstr("'qwen2moe.expert_gating_func' of 2 is not supported; known: 1 and 3 (softmax)"));
  EXPECT_THAT(error_of_gguf("qwen2_moe_shared", "weights_scale\6\0\0\0\0\0\x80\x3f"s,
                            "weights_scale\6\0\0\0\0\0\0\x40"s),
              HasSubstr("'qwen2moe.expert_weights_scale' of 2 is not supported"));
  EXPECT_THAT(error_of_gguf("qwen2_window", "sliding_window_pattern", "sliding_window_xattern"),
              HasSubstr("does not say which layers"));
  EXPECT_THAT(error_of_gguf("mpt_alibi", "max_alibi_bias", "min_alibi_bias"),
              HasSubstr("positions other than ALiBi are not supported: 'mpt.attention.max_alibi_bias' is 0"));
  EXPECT_THAT(error_of_gguf("falcon_grouped", "attn_norm_2", "attn_norm_9"),
              AllOf(HasSubstr("unknown"), HasSubstr("blk.0.attn_norm_9.weight")));
  EXPECT_THAT(error_of_gguf("phi3_long", "rope_factors_short", "rope_factors_shirt"),
              HasSubstr("should both be there"));
  EXPECT_THAT(
      error_of_gguf("qwen2_yarn", "blk.1.ffn_up", "blk.7.ffn_up"),
      AllOf(HasSubstr("1 missing (blk.1.ffn_up.weight)"), HasSubstr("1 unknown (blk.7.ffn_up.weight)")));
}

TEST(Model, ReadsTheMetadataOfRealFiles) {
  const std::filesystem::path path = tests::real_model(tests::kGemma);
  OUTLIERS_SKIP_WITHOUT(path);
  const auto model = Model::open(path);
  const Config& c = model->config();
  EXPECT_EQ(c.layers, 18);
  EXPECT_EQ(c.windows[5], 0);
  EXPECT_EQ(c.windows[6], 512);
  EXPECT_EQ(c.rotaries[0].base, 1e6);
  EXPECT_EQ(c.rotaries[1].base, 1e4);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_EQ(model->parameters(), 268098176);
}

}  // namespace
}  // namespace outliers::models
