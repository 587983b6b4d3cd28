#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/models/config_reader.h"
#include "outliers/models/rotary.h"

#include "support.h"

namespace outliers::models {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Config read(const std::string& text) {
  return describe_hugging_face(text, "config.json").config;
}

std::string error_of(const std::string& text) {
  return tests::error_of([&] { read(text); });
}

/// A Llama of 4 layers with `extra` keys.
std::string llama(const std::string& extra = "") {
  return R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
             "num_attention_heads": 8, "vocab_size": 100)" +
         (extra.empty() ? "" : ", " + extra) + "}";
}

TEST(HuggingFaceConfig, FillsWhatLlamaLeavesOut) {
  const Config c = read(llama());
  EXPECT_EQ(c.family, "llama");
  EXPECT_EQ(c.kv_heads, 8);
  EXPECT_EQ(c.head_width, 8);
  EXPECT_EQ(c.max_positions, 2048);
  EXPECT_EQ(c.activation, Activation::silu);
  EXPECT_FALSE(c.attention_bias || c.output_bias || c.mlp_bias || c.tied_embeddings ||
               c.qk_norm != QkNorm::none);
  EXPECT_DOUBLE_EQ(c.attention_scale, 1 / std::sqrt(8.0));
  EXPECT_EQ(c.rotaries[0].width, 8);
  EXPECT_EQ(c.rotaries[0].base, 10000.0);
  EXPECT_THAT(c.windows, ElementsAre(0, 0, 0, 0));
}

TEST(HuggingFaceConfig, ReadsBothStylesOfRotary) {
  const char* styles[] = {
      R"("rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
         "high_freq_factor": 4.0, "original_max_position_embeddings": 512})",
      R"("rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
         "high_freq_factor": 4.0, "original_max_position_embeddings": 512})"};
  for (const char* style : styles) {
    const Rotary r = read(llama(style)).rotaries[0];
    EXPECT_EQ(r.scaling, "llama3");
    EXPECT_EQ(r.base, 5e5);
    EXPECT_EQ(r.factor, 8.0);
    EXPECT_EQ(r.original_positions, 512);
  }
  EXPECT_EQ(read(llama(R"("rope_scaling": {"type": "linear", "factor": 2})")).rotaries[0].scaling, "linear");
}

TEST(HuggingFaceConfig, RefusesWhatItDoesNotCompute) {
  EXPECT_THAT(error_of(llama(R"("rope_scaling": {"type": "mrope"})")), HasSubstr("'mrope' is not supported"));
  EXPECT_THAT(error_of(llama(R"("hidden_act": "mish")")), HasSubstr("'mish'"));
  EXPECT_EQ(describe_hugging_face(llama(R"("quantization_config": {"quant_method": "x"})"), "c").quantization,
            R"({"quant_method":"x"})");
  EXPECT_THAT(error_of(R"({"model_type": "mamba"})"),
              testing::AllOf(HasSubstr("'mamba'"), HasSubstr("known: llama, mistral, qwen2, qwen3")));
  EXPECT_THAT(error_of(R"({"model_type": "qwen2", "num_hidden_layers": 2, "num_attention_heads": 2,
                           "hidden_size": 8, "intermediate_size": 8, "vocab_size": 4,
                           "layer_types": ["full_attention", "linear_attention"]})"),
              HasSubstr("layer 1 has the type 'linear_attention'"));
}

TEST(HuggingFaceConfig, FieldsThatNobodyNeeds) {
  const Config c =
      read(llama(R"("limit": 1000000000000000000000000000000, "most": Infinity, "least": -Infinity,
      "threshold": [NaN, 1e400], "name": "\ud800", "hidden_act": "relu", "hidden_act": "silu", "_name_or_path": 5)"));
  EXPECT_EQ(c.activation, Activation::silu);
  EXPECT_EQ(c.name, "");
  EXPECT_THAT(error_of(llama(R"("rms_norm_eps": NaN)")),
              HasSubstr("'rms_norm_eps' should be a finite number"));
  EXPECT_THAT(error_of(llama(R"("rope_theta": Infinity)")),
              HasSubstr("'rope_theta' should be a finite number"));
}

TEST(HuggingFaceConfig, ExplainsBadFiles) {
  EXPECT_THAT(error_of("{"), HasSubstr("config.json: this is not valid JSON: byte 2"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of(R"({"model_type": "llama"})"), HasSubstr("'num_hidden_layers' is missing"));
  EXPECT_THAT(error_of(llama(R"("head_dim": "8")")), HasSubstr("'head_dim' should be an integer"));
  EXPECT_THAT(error_of(llama(R"("num_key_value_heads": 3)")), HasSubstr("8 heads cannot share 3"));
  EXPECT_THAT(error_of(llama(R"("head_dim": 0)")), HasSubstr("channels of a head is 0"));
  EXPECT_THAT(error_of(llama(R"("head_dim": 1e300)")), HasSubstr("'head_dim' should be an integer"));
  EXPECT_THAT(error_of(llama(R"("head_dim": 7)")), HasSubstr("7 rotary channels do not fit"));
  EXPECT_THAT(error_of(llama(R"("rope_scaling": {"type": "yarn", "factor": 8.0, "beta_fast": -1})")),
              HasSubstr("not positive numbers"));
  EXPECT_THAT(error_of(llama(R"("rope_scaling": {"type": "linear", "factor": 0})")),
              HasSubstr("must be positive"));
  EXPECT_THAT(error_of(llama(R"("rope_scaling": {"type": "longrope", "short_factor": [1, 1],
                                 "long_factor": [1, 1, 1, 1]})")),
              HasSubstr("2 rotary factors for 4 frequencies"));
}

TEST(HuggingFaceConfig, QwenWindowsBeginAtMaxWindowLayers) {
  const std::string sizes = R"({"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 96,
      "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 100, "sliding_window": 32,
      "max_window_layers": 3)";
  EXPECT_THAT(read(sizes + "}").windows, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(read(sizes + R"(, "use_sliding_window": true})").windows, ElementsAre(0, 0, 0, 32));
  EXPECT_TRUE(read(sizes + "}").attention_bias);
  EXPECT_FALSE(read(sizes + "}").output_bias);
}

TEST(HuggingFaceConfig, GemmaHasLocalAndGlobalLayers) {
  const Config c = read(R"({"model_type": "gemma3_text", "hidden_size": 640, "num_hidden_layers": 8,
      "sliding_window": 512, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}})");
  EXPECT_THAT(c.windows, ElementsAre(512, 512, 512, 512, 512, 0, 512, 512));
  EXPECT_THAT(c.rotary_of_layer, ElementsAre(1, 1, 1, 1, 1, 0, 1, 1));
  EXPECT_EQ(c.rotaries[0].base, 1e6);
  EXPECT_EQ(c.rotaries[0].scaling, "linear");
  EXPECT_EQ(c.rotaries[1].base, 1e4);
  EXPECT_EQ(c.rotaries[1].scaling, "");
  EXPECT_TRUE(c.tied_embeddings && c.storage.norm_less_one && c.branch_norms && c.qk_norm == QkNorm::shared);
  EXPECT_DOUBLE_EQ(c.embedding_scale, std::sqrt(640.0));
  EXPECT_EQ(c.activation, Activation::gelu_tanh);
}

TEST(HuggingFaceConfig, ReadsTheLanguageModelOfAMultimodalCheckpoint) {
  const Config c = read(R"({"model_type": "gemma3", "vision_config": {"hidden_size": 1152},
      "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
                      "sliding_window": 1024}})");
  EXPECT_EQ(c.width, 2560);
  EXPECT_EQ(c.heads, 8);
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_width, 256);
  EXPECT_EQ(c.vocabulary, 262208);
  EXPECT_EQ(c.windows[5], 0);
  EXPECT_EQ(c.windows[6], 1024);
}

/// A config of 2 layers by the keys most families share, with `extra` ones.
std::string of_family(const std::string& model_type, const std::string& extra = "") {
  return R"({"model_type": ")" + model_type + R"(", "hidden_size": 32, "intermediate_size": 48,
             "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "head_dim": 8)" +
         (extra.empty() ? "" : ", " + extra) + "}";
}

TEST(HuggingFaceConfig, TakesTheNamesOfEachFamily) {
  const Config gpt2 = read(R"({"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": null,
                               "n_positions": 64})");
  EXPECT_EQ(gpt2.width, 32);
  EXPECT_EQ(gpt2.mlp_width, 128);
  EXPECT_EQ(gpt2.max_positions, 64);
  EXPECT_TRUE(gpt2.rotaries.empty());
  EXPECT_THAT(gpt2.rotary_of_layer, ElementsAre(-1, -1));
  EXPECT_EQ(gpt2.activation, Activation::gelu_tanh);

  const Config neox = read(of_family("gpt_neox", R"("rotary_pct": 0.5, "rotary_emb_base": 500)"));
  EXPECT_TRUE(neox.parallel && !neox.shared_norm && neox.attention_bias && neox.mlp_bias);
  EXPECT_EQ(neox.rotaries[0].width, 4);
  EXPECT_EQ(neox.rotaries[0].base, 500);

  const std::string grouped = R"("num_key_value_heads": 2)";
  EXPECT_THAT(read(of_family("mistral", grouped)).windows, ElementsAre(4096, 4096));
  EXPECT_THAT(read(of_family("mistral", grouped + R"(, "sliding_window": null)")).windows, ElementsAre(0, 0));
  EXPECT_THAT(read(of_family("gemma2")).windows, ElementsAre(4096, 0));
  EXPECT_EQ(read(of_family("gemma", R"("hidden_act": "gelu")")).activation, Activation::gelu_tanh);
  EXPECT_EQ(read(of_family("falcon")).kv_heads, 1);
  EXPECT_EQ(read(of_family("falcon", R"("multi_query": false)")).kv_heads, 4);
  const Config smollm = read(of_family("smollm3", R"("no_rope_layers": [1, 0])"));
  EXPECT_THAT(smollm.rotary_of_layer, ElementsAre(0, -1));

  const Config opt =
      read(of_family("opt", R"("ffn_dim": 48, "do_layer_norm_before": false, "word_embed_proj_dim": 20)"));
  EXPECT_TRUE(opt.residual_norms && !opt.input_norms && !opt.final_norm);
  EXPECT_EQ(opt.embedding_width, 20);
}

/// A model of images by the keys that all of them share, with `extra` ones.
std::string of_images(const std::string& model_type, const std::string& extra = "") {
  return R"({"model_type": ")" + model_type + R"(", "hidden_size": 32, "intermediate_size": 48,
             "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 12, "patch_size": 4)" +
         (extra.empty() ? "" : ", " + extra) + "}";
}

TEST(HuggingFaceConfig, ReadsModelsOfImages) {
  const Config vit =
      read(of_images("vit", R"("image_size": [12, 25], "patch_size": [4, 5], "qkv_bias": false)"));
  EXPECT_TRUE(reads_images(vit) && !vit.causal && !vit.attention_bias && vit.output_bias && vit.mlp_bias);
  EXPECT_EQ(vit.vocabulary, 0);
  EXPECT_EQ(vit.max_positions, 1 + 3 * 5);
  EXPECT_EQ(vit.vision.image_width, 25);
  EXPECT_EQ(vit.vision.patch_width, 5);
  EXPECT_EQ(vit.vision.resize, PositionResize::none);
  EXPECT_DOUBLE_EQ(vit.norm_epsilon, 1e-12);

  const Config base = read(R"({"model_type": "dinov2"})");
  EXPECT_EQ(base.mlp_width, 3072);
  EXPECT_EQ(base.max_positions, 257);
  EXPECT_TRUE(base.branch_scales && !base.gated_mlp && base.attention_bias);
  EXPECT_EQ(base.vision.resize, PositionResize::bicubic);
  const Config giant =
      read(R"({"model_type": "dinov2_with_registers", "hidden_size": 1536, "num_attention_heads": 24,
      "num_hidden_layers": 40, "use_swiglu_ffn": true, "patch_size": 14, "image_size": 518})");
  EXPECT_EQ(giant.mlp_width, 4096);
  EXPECT_EQ(giant.activation, Activation::silu);
  EXPECT_TRUE(giant.gated_mlp && giant.storage.fused_gate_up);
  EXPECT_EQ(giant.vision.registers, 4);
  EXPECT_EQ(giant.max_positions, 1 + 37 * 37);
  EXPECT_EQ(giant.vision.resize, PositionResize::bicubic_antialiased);

  // Beside a text tower; early files say it twice, and what the second leaves out is as by default.
  const std::string towers = R"({"model_type": "clip", "text_config": {"hidden_size": 7},
      "vision_config": {"hidden_size": 64, "num_attention_heads": 8, "intermediate_size": 96, "num_hidden_layers": 3})";
  const Config clip = read(towers + "}");
  EXPECT_EQ(clip.width, 64);
  EXPECT_EQ(clip.layers, 3);
  EXPECT_EQ(clip.activation, Activation::quick_gelu);
  EXPECT_TRUE(clip.embedding_norm && clip.attention_bias);
  const Config twice = read(towers + R"(, "vision_config_dict": {"hidden_size": 96, "patch_size": 16}})");
  EXPECT_EQ(twice.width, 96);
  EXPECT_EQ(twice.layers, 12);
  EXPECT_EQ(twice.vision.patch_height, 16);
  EXPECT_EQ(read(towers + R"(, "vision_config_dict": null})").layers, 3);

  EXPECT_THAT(error_of(of_images("vit", R"("num_channels": 1)")),
              HasSubstr("'num_channels' of 1 is not supported"));
  EXPECT_THAT(error_of(of_images("vit", R"("image_size": [12])")),
              HasSubstr("'image_size' should be a number or"));
  EXPECT_THAT(error_of(of_images("vit", R"("patch_size": 0)")), HasSubstr("'patch_size' should be positive"));
  EXPECT_THAT(error_of(of_images("vit", R"("patch_size": 13)")), HasSubstr("rows of a patch is 13"));
  EXPECT_THAT(error_of(of_images("vit", R"("image_size": 100000)")), HasSubstr("rows of an image is 100000"));
  EXPECT_THAT(error_of(of_images("vit", R"("hidden_act": "mish")")), HasSubstr("'mish'"));
  EXPECT_THAT(error_of(of_images("dinov2_with_registers", R"("num_register_tokens": -1)")),
              HasSubstr("number of registers is -1"));
  EXPECT_THAT(error_of(R"({"model_type": "clip", "vision_config": 3})"),
              HasSubstr("'vision_config' should be"));
}

TEST(HuggingFaceConfig, KnowsWhichLayersHaveExperts) {
  const Config mixtral = read(of_family("mixtral", R"("num_key_value_heads": 2)"));
  EXPECT_EQ(mixtral.experts.count, 8);
  EXPECT_EQ(mixtral.experts.used, 2);
  EXPECT_EQ(mixtral.experts.width, 48);
  EXPECT_TRUE(mixtral.experts.normalised);
  EXPECT_THAT(mixtral.routed, ElementsAre(true, true));
  const Config step = read(of_family("qwen3_moe", R"("num_experts": 4, "num_experts_per_tok": 3,
      "decoder_sparse_step": 2)"));
  EXPECT_FALSE(step.experts.normalised);
  EXPECT_EQ(step.experts.width, 768);
  EXPECT_EQ(widest_mlp(step), 768);
  EXPECT_THAT(step.routed, ElementsAre(false, true));
  const Config listed = read(of_family("qwen2_moe", R"("mlp_only_layers": [1, 7])"));
  EXPECT_THAT(listed.routed, ElementsAre(true, false));
  EXPECT_EQ(listed.experts.shared_width, 5632);
  EXPECT_TRUE(listed.attention_bias);
  const Config oss = read(of_family("gpt_oss", R"("num_key_value_heads": 2)"));
  EXPECT_THAT(oss.windows, ElementsAre(128, 0));
  EXPECT_EQ(oss.rotaries[0].scaling, "yarn");
  EXPECT_FALSE(oss.rotaries[0].truncate);
  EXPECT_EQ(oss.mlp_clamp, 7.0);
  EXPECT_EQ(oss.activation, Activation::quick_gelu);
  EXPECT_THAT(read(llama()).routed, ElementsAre(false, false, false, false));

  EXPECT_THAT(error_of(of_family("mixtral", R"("num_experts_per_tok": 9, "num_key_value_heads": 2)")),
              HasSubstr("experts of a token is 9, which is not between 1 and 8"));
  EXPECT_THAT(error_of(of_family("qwen2_moe", R"("decoder_sparse_step": 0)")),
              HasSubstr("'decoder_sparse_step'"));
  EXPECT_THAT(read(of_family("qwen2_moe", R"("use_sliding_window": true, "sliding_window": 5)")).windows,
              ElementsAre(5, 0));
  EXPECT_THAT(error_of(of_family("gpt_oss", R"("swiglu_alpha": 1.5)")), HasSubstr("'swiglu_alpha' of 1.5"));
}

TEST(HuggingFaceConfig, PhiThreesEarlyNamesAreLongRope) {
  for (const char* type : {"su", "yarn", "longrope"}) {
    const Rotary r = read(of_family("phi3", fmt::format(R"("max_position_embeddings": 131072,
        "rope_scaling": {{"type": "{}", "short_factor": [1, 1, 1, 1], "long_factor": [2, 2, 2, 2]}})",
                                                        type)))
                         .rotaries[0];
    EXPECT_EQ(r.scaling, "longrope");
    EXPECT_EQ(r.original_positions, 4096);
    EXPECT_NEAR(r.attention_factor, std::sqrt(1 + std::log(32.0) / std::log(4096.0)), 1e-12);
  }
}

TEST(HuggingFaceConfig, NamesWhatAFamilysCheckpointNeedsAndIsNotComputed) {
  EXPECT_THAT(error_of(of_family("gpt2", R"("add_cross_attention": true)")),
              HasSubstr("'add_cross_attention'"));
  EXPECT_THAT(error_of(of_family("gemma", R"("use_bidirectional_attention": true)")),
              HasSubstr("'use_bidirectional_attention'"));
  EXPECT_THAT(error_of(of_family("olmo", R"("rope_scaling": {"type": "ntk"})")), HasSubstr("'ntk'"));
  EXPECT_THAT(error_of(of_family("olmo", R"("clip_qkv": -1)")), HasSubstr("clip"));
  EXPECT_THAT(error_of(of_family("stablelm", R"("head_dim": 10)")), HasSubstr("heads of 10 channels"));
  EXPECT_THAT(error_of(of_family("smollm3", R"("no_rope_layers": [1])")),
              HasSubstr("1 layers say in 'no_rope_layers'"));
  EXPECT_THAT(error_of(of_family("falcon", R"("activation": "squared_relu")")), HasSubstr("'squared_relu'"));
  EXPECT_THAT(error_of(of_family("gpt_neox", R"("rotary_pct": 0.4)")), HasSubstr("3 rotary channels"));
  EXPECT_THAT(error_of(of_family("gptneox")), HasSubstr("known: llama, mistral, qwen2"));
}

TEST(RotaryFrequencies, FollowTheirFormulas) {
  Rotary r;
  r.width = 4;
  r.base = 100.0;
  const auto values = [](const at::Tensor& t) {
    return std::vector<float>(t.data_ptr<float>(), t.data_ptr<float>() + t.numel());
  };
  EXPECT_THAT(values(rotary_frequencies(r, 8)), ElementsAre(1.0f, testing::FloatEq(0.1f)));
  r.scaling = "linear";
  r.factor = 4;
  EXPECT_THAT(values(rotary_frequencies(r, 8)), ElementsAre(0.25f, testing::FloatEq(0.025f)));
  r.scaling = "dynamic";
  r.original_positions = 8;
  EXPECT_THAT(values(rotary_frequencies(r, 8)), ElementsAre(1.0f, testing::FloatEq(0.1f)));
  // base' = 100 * (4 * 16 / 8 - 3)^(4/2) = 2500.
  EXPECT_THAT(values(rotary_frequencies(r, 16)), ElementsAre(1.0f, testing::FloatEq(0.02f)));
  r.scaling = "longrope";
  r.factors = {1, 2};
  r.long_factors = {4, 5};
  EXPECT_THAT(values(rotary_frequencies(r, 8)), ElementsAre(1.0f, testing::FloatEq(0.05f)));
  EXPECT_THAT(values(rotary_frequencies(r, 9)), ElementsAre(0.25f, testing::FloatEq(0.02f)));
}

}  // namespace
}  // namespace outliers::models
