// Gemma 3, the text model of all sizes.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family gemma3_family() {
  Family f;
  f.name = "gemma3";
  f.model_types = {"gemma3_text", "gemma3"};
  f.gguf_architectures = {"gemma3"};
  // The text_config of the larger checkpoints names little more than what differs from these.
  f.defaults = R"({"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
                   "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
                   "tie_word_embeddings": true, "attention_bias": false, "vocab_size": 262208,
                   "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
                   "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                   "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6})";
  f.traits.activation = Activation::gelu_tanh;
  f.traits.norm_adds_one = true;
  f.traits.branch_norms = true;
  f.traits.qk_norm = QkNorm::shared;
  f.windows = WindowRule::all_but_nth;
  f.window_pattern = 6;
  f.local_rotary_base = 10000.0;
  f.scaled_embeddings = true;
  f.gguf_layers_scaled_by_width = 62;  // 27B
  f.prefixes = {"model.", "language_model.model.", "model.language_model.", ""};
  f.ignored = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
               "model.multi_modal_projector."};
  // clang-format off
  f.weights = {
      {"embedding", "embed_tokens", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "layers.*.input_layernorm", "blk.*.attn_norm", "[D]"},
      {"layer.*.q", "layers.*.self_attn.q_proj", "blk.*.attn_q", "[H*d, D]", has<&Config::attention_bias>},
      {"layer.*.k", "layers.*.self_attn.k_proj", "blk.*.attn_k", "[Hk*d, D]", has<&Config::attention_bias>},
      {"layer.*.v", "layers.*.self_attn.v_proj", "blk.*.attn_v", "[Hk*d, D]", has<&Config::attention_bias>},
      {"layer.*.q_norm", "layers.*.self_attn.q_norm", "blk.*.attn_q_norm", "[d]"},
      {"layer.*.k_norm", "layers.*.self_attn.k_norm", "blk.*.attn_k_norm", "[d]"},
      {"layer.*.o", "layers.*.self_attn.o_proj", "blk.*.attn_output", "[D, H*d]", has<&Config::output_bias>},
      {"layer.*.attn_post_norm", "layers.*.post_attention_layernorm", "blk.*.post_attention_norm", "[D]"},
      {"layer.*.mlp_norm", "layers.*.pre_feedforward_layernorm", "blk.*.ffn_norm", "[D]"},
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
