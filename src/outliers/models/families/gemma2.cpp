// Gemma 2: soft-caps, norms on both sides of attention and MLP, a window in every second layer.
#include "outliers/models/families/table.h"
#include "outliers/models/gguf_keys.h"

namespace outliers::models {

std::vector<WeightRow> gemma2_weights() {
  // clang-format off
  return {
      {"embedding", "embed_tokens", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "layers.*.input_layernorm", "blk.*.attn_norm", "[D]"},
      {"layer.*.q", "layers.*.self_attn.q_proj", "blk.*.attn_q", "[H*d, D]", has<&Config::attention_bias>},
      {"layer.*.k", "layers.*.self_attn.k_proj", "blk.*.attn_k", "[Hk*d, D]", has<&Config::attention_bias>},
      {"layer.*.v", "layers.*.self_attn.v_proj", "blk.*.attn_v", "[Hk*d, D]", has<&Config::attention_bias>},
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
}

Family gemma2_family() {
  Family f;
  f.name = "gemma2";
  f.model_types = {"gemma2"};
  f.gguf_architectures = {"gemma2"};
  f.defaults = R"({"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192,
                   "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
                   "attention_bias": false, "head_dim": 256, "num_key_value_heads": 4,
                   "query_pre_attn_scalar": 256, "sliding_window": 4096,
                   "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias",
                             "use_bidirectional_attention", "query_pre_attn_scalar", "attn_logit_softcapping",
                             "final_logit_softcapping", "sliding_window", "layer_types"});
  f.keys = {{"hidden_act", {"hidden_activation"}}};
  f.traits.activation = Activation::gelu_tanh;
  f.traits.storage.norm_less_one = true;
  f.traits.branch_norms = true;
  f.windows = WindowRule::all_but_nth;
  f.window_pattern = 2;
  f.gguf_window = 4096;
  f.scaled_embeddings = true;
  f.gguf_layers_scaled_by_width = 46;  // 27B
  f.read_gguf = [](const Keys& keys, const io::Checkpoint&, Config& config) {
    config.attention_softcap = keys.number("attn_logit_softcapping", 50.0);
    config.logit_softcap = keys.number("final_logit_softcapping", 30.0);
  };
  f.weights = gemma2_weights();
  return f;
}

}  // namespace outliers::models
