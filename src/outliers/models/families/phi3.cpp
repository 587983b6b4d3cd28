// Phi-3 and Phi-4 (mini and 14B): one matrix for queries, keys and values, one for gate and up; LongRoPE.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family phi3_family() {
  Family f;
  f.name = "phi3";
  f.model_types = {"phi3"};
  f.gguf_architectures = {"phi3"};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 4096,
                   "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                   "tie_word_embeddings": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "partial_rotary_factor", "sliding_window"});
  f.longrope_types = {"su", "yarn"};
  f.traits.storage.fused_qkv = f.traits.storage.fused_gate_up = true;
  f.biases = Biases::fixed;
  f.windows = WindowRule::all;
  constexpr Condition kFused = has<&Storage::fused_qkv>, kApart = lacks<&Storage::fused_qkv>;
  // clang-format off
  f.weights = {
      {"embedding", "embed_tokens", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "layers.*.input_layernorm", "blk.*.attn_norm", "[D]"},
      {"layer.*.qkv", "layers.*.self_attn.qkv_proj", "blk.*.attn_qkv", "[H*d + 2*Hk*d, D]", nullptr, kFused},
      {"layer.*.q", nullptr, "blk.*.attn_q", "[H*d, D]", nullptr, kApart},
      {"layer.*.k", nullptr, "blk.*.attn_k", "[Hk*d, D]", nullptr, kApart},
      {"layer.*.v", nullptr, "blk.*.attn_v", "[Hk*d, D]", nullptr, kApart},
      {"layer.*.o", "layers.*.self_attn.o_proj", "blk.*.attn_output", "[D, H*d]"},
      {"layer.*.mlp_norm", "layers.*.post_attention_layernorm", "blk.*.ffn_norm", "[D]"},
      {"layer.*.gate_up", "layers.*.mlp.gate_up_proj", "blk.*.ffn_up", "[2*F, D]"},
      {"layer.*.down", "layers.*.mlp.down_proj", "blk.*.ffn_down", "[D, F]"},
      {"final_norm", "norm", "output_norm", "[D]"},
      head("lm_head"),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
