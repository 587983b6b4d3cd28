// Qwen 1.5 and 2 with experts, of which one is shared by all tokens and has a gate of its own.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

std::vector<WeightRow> qwen_expert_weights() {
  return with_experts(
      llama_weights(Transform::none),
      {"layers.*.mlp.gate", "layers.*.mlp.experts.#.gate_proj", "layers.*.mlp.experts.#.up_proj",
       "layers.*.mlp.experts.#.down_proj", "layers.*.mlp.gate", "layers.*.mlp.experts.gate_up_proj$",
       "layers.*.mlp.experts.down_proj$"});
}

Family qwen2_moe_family() {
  Family f;
  f.name = "qwen2_moe";
  f.model_types = {"qwen2_moe"};
  f.gguf_architectures = {"qwen2moe"};
  f.mixture = true;
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "use_sliding_window": false,
                   "sliding_window": 4096, "max_window_layers": 28, "decoder_sparse_step": 1, "moe_intermediate_size": 1408,
                   "shared_expert_intermediate_size": 5632, "num_experts_per_tok": 4, "num_experts": 60})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "use_sliding_window", "sliding_window",
                             "max_window_layers", "layer_types", "num_experts", "num_experts_per_tok",
                             "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step",
                             "mlp_only_layers", "shared_expert_intermediate_size", "qkv_bias"});
  f.windows = WindowRule::lower_even;
  f.traits.attention_bias = true;
  f.traits.experts.normalised = false;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.attention_bias = fields.boolean("qkv_bias", true);
  };
  f.weights = qwen_expert_weights();
  // clang-format off
  const WeightRow shared[] = {
      {"layer.*.shared.gate", "layers.*.mlp.shared_expert.gate_proj", "blk.*.ffn_gate_shexp", "[Fs, D]"},
      {"layer.*.shared.up", "layers.*.mlp.shared_expert.up_proj", "blk.*.ffn_up_shexp", "[Fs, D]"},
      {"layer.*.shared.down", "layers.*.mlp.shared_expert.down_proj", "blk.*.ffn_down_shexp", "[D, Fs]"},
      {"layer.*.shared_gate", "layers.*.mlp.shared_expert_gate", "blk.*.ffn_gate_inp_shexp", "[1, D]"},
  };
  // clang-format on
  for (WeightRow row : shared) {
    row.layers = Layers::routed;
    f.weights.push_back(row);
  }
  return f;
}

}  // namespace outliers::models
