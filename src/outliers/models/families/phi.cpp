// Phi-1, 1.5 and 2.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family phi_family() {
  Family f;
  f.name = "phi";
  f.model_types = {"phi"};
  f.gguf_architectures = {"phi2"};
  f.defaults = R"({"hidden_act": "gelu_new", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "tie_word_embeddings": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "partial_rotary_factor", "qk_layernorm"});
  f.keys = {{"rms_norm_eps", {"layer_norm_eps"}}};
  f.traits.norm = NormKind::layer;
  f.traits.norm_bias = true;
  f.traits.norm_epsilon = 1e-5;
  f.traits.parallel = f.traits.shared_norm = true;
  f.traits.activation = Activation::gelu_tanh;
  f.traits.gated_mlp = false;
  f.traits.attention_bias = f.traits.output_bias = f.traits.mlp_bias = f.traits.head_bias = true;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.qk_norm = fields.boolean("qk_layernorm", false) ? QkNorm::shared : QkNorm::none;
    config.qk_norm_bias = config.qk_norm != QkNorm::none;
  };
  constexpr Condition kBias = has<&Config::mlp_bias>, kNormed = has<&Config::qk_norm_bias>,
                      kFused = has<&Storage::fused_qkv>, kApart = lacks<&Storage::fused_qkv>;
  // clang-format off
  f.weights = {
      {"embedding", "embed_tokens", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "layers.*.input_layernorm", "blk.*.attn_norm", "[D]", kBias},
      {"layer.*.qkv", nullptr, "blk.*.attn_qkv", "[H*d + 2*Hk*d, D]", kBias, kFused},
      {"layer.*.q", "layers.*.self_attn.q_proj", "blk.*.attn_q", "[H*d, D]", kBias, kApart},
      {"layer.*.k", "layers.*.self_attn.k_proj", "blk.*.attn_k", "[Hk*d, D]", kBias, kApart},
      {"layer.*.v", "layers.*.self_attn.v_proj", "blk.*.attn_v", "[Hk*d, D]", kBias, kApart},
      {"layer.*.q_norm", "layers.*.self_attn.q_layernorm", nullptr, "[d]", kNormed, kNormed},
      {"layer.*.k_norm", "layers.*.self_attn.k_layernorm", nullptr, "[d]", kNormed, kNormed},
      {"layer.*.o", "layers.*.self_attn.dense", "blk.*.attn_output", "[D, H*d]", kBias},
      {"layer.*.up", "layers.*.mlp.fc1", "blk.*.ffn_up", "[F, D]", kBias},
      {"layer.*.down", "layers.*.mlp.fc2", "blk.*.ffn_down", "[D, F]", kBias},
      {"final_norm", "final_layernorm", "output_norm", "[D]", kBias},
      head("lm_head", "[V, D]", kBias),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
