// gpt-oss 20B and 120B (arXiv 2508.10925): learnt attention sinks, a window in every second layer, experts
// with a clamped SwiGLU, in MXFP4 as OpenAI released them.
#include <string_view>

#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family gpt_oss_family() {
  Family f;
  f.name = "gpt_oss";
  f.model_types = {"gpt_oss"};
  f.gguf_architectures = {"gpt-oss"};
  f.mixture = true;
  f.keys = {{"num_experts", {"num_experts", "num_local_experts"}}, {"hidden_act", {}}};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
                   "rope_theta": 150000.0, "tie_word_embeddings": false, "attention_bias": true,
                   "head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128,
                   "num_experts": 128, "num_experts_per_tok": 4, "swiglu_limit": 7.0,
                   "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
                                    "truncate": false, "original_max_position_embeddings": 4096}})";
  f.reads =
      rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "sliding_window", "layer_types",
                       "num_experts", "num_experts_per_tok", "swiglu_limit", "swiglu_alpha"});
  f.only = R"({"swiglu_alpha": 1.702})";
  f.traits.activation = Activation::quick_gelu;
  f.traits.up_adds_one = true;
  f.traits.mlp_clamp = 7.0;
  f.traits.storage.mixed_gate_up = true;
  f.traits.storage.stacked_experts = f.traits.storage.fused_experts = true;
  f.windows = WindowRule::all_but_nth;
  f.window_pattern = 2;
  f.gguf_window = 128;
  f.gguf_yarn_truncates = false;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.activation = Activation::quick_gelu;
    config.mlp_clamp = fields.number("swiglu_limit");
  };
  constexpr Condition kAlways = [](const Config&) { return true; };
  f.weights = with_experts(llama_weights(Transform::none),
                           {nullptr, nullptr, nullptr, nullptr, "layers.*.mlp.router",
                            "layers.*.mlp.experts.gate_up_proj$", "layers.*.mlp.experts.down_proj$"},
                           kAlways, Transform::transpose);
  f.weights.push_back({"layer.*.sinks", "layers.*.self_attn.sinks$", "blk.*.attn_sinks", "[H]"});
  for (WeightRow& row : f.weights) {
    if (row.ours == std::string_view("layer.*.mlp_norm")) row.gguf = "blk.*.post_attention_norm";
  }
  return f;
}

}  // namespace outliers::models
