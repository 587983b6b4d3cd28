// OLMo 2: norms only on what attention and MLP give, and over whole queries and keys.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family olmo2_family() {
  Family f;
  f.name = "olmo2";
  f.model_types = {"olmo2"};
  f.gguf_architectures = {"olmo2"};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias"});
  f.traits.input_norms = false;
  f.traits.branch_norms = true;
  f.traits.qk_norm = QkNorm::whole;
  constexpr Condition kBias = has<&Config::attention_bias>;
  // clang-format off
  f.weights = {
      {"embedding", "embed_tokens", "token_embd", "[V, D]"},
      {"layer.*.q", "layers.*.self_attn.q_proj", "blk.*.attn_q", "[H*d, D]", kBias},
      {"layer.*.k", "layers.*.self_attn.k_proj", "blk.*.attn_k", "[Hk*d, D]", kBias},
      {"layer.*.v", "layers.*.self_attn.v_proj", "blk.*.attn_v", "[Hk*d, D]", kBias},
      {"layer.*.q_norm", "layers.*.self_attn.q_norm", "blk.*.attn_q_norm", "[H*d]"},
      {"layer.*.k_norm", "layers.*.self_attn.k_norm", "blk.*.attn_k_norm", "[Hk*d]"},
      {"layer.*.o", "layers.*.self_attn.o_proj", "blk.*.attn_output", "[D, H*d]", has<&Config::output_bias>},
      {"layer.*.attn_post_norm", "layers.*.post_attention_layernorm", "blk.*.post_attention_norm", "[D]"},
      {"layer.*.gate", "layers.*.mlp.gate_proj", "blk.*.ffn_gate", "[F, D]"},
      {"layer.*.up", "layers.*.mlp.up_proj", "blk.*.ffn_up", "[F, D]"},
      {"layer.*.down", "layers.*.mlp.down_proj", "blk.*.ffn_down", "[D, F]"},
      {"layer.*.mlp_post_norm", "layers.*.post_feedforward_layernorm", "blk.*.post_ffw_norm", "[D]"},
      {"final_norm", "norm", "output_norm", "[D]"},
      head("lm_head"),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
