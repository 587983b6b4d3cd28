// Llama 1 to 3.x and what is saved as one: TinyLlama, SmolLM 1 and 2. GGUF files of Mistral are of this
// architecture too; the window that they may state is of all layers.
#include "outliers/models/families/table.h"

namespace outliers::models {

std::vector<WeightRow> llama_weights(Transform gguf_queries_and_keys) {
  constexpr Condition kMlpNorm = [](const Config& c) { return c.norm_weight && !c.shared_norm; };
  // clang-format off
  std::vector<WeightRow> rows = {
      {"embedding", "embed_tokens", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "layers.*.input_layernorm", "blk.*.attn_norm", "[D]", has<&Config::norm_bias>, has<&Config::norm_weight>},
      {"layer.*.q", "layers.*.self_attn.q_proj", "blk.*.attn_q", "[H*d, D]", has<&Config::attention_bias>},
      {"layer.*.k", "layers.*.self_attn.k_proj", "blk.*.attn_k", "[Hk*d, D]", has<&Config::attention_bias>},
      {"layer.*.v", "layers.*.self_attn.v_proj", "blk.*.attn_v", "[Hk*d, D]", has<&Config::attention_bias>},
      {"layer.*.o", "layers.*.self_attn.o_proj", "blk.*.attn_output", "[D, H*d]", has<&Config::output_bias>},
      {"layer.*.mlp_norm", "layers.*.post_attention_layernorm", "blk.*.ffn_norm", "[D]", has<&Config::norm_bias>, kMlpNorm},
      {"layer.*.gate", "layers.*.mlp.gate_proj", "blk.*.ffn_gate", "[F, D]", has<&Config::mlp_bias>},
      {"layer.*.up", "layers.*.mlp.up_proj", "blk.*.ffn_up", "[F, D]", has<&Config::mlp_bias>},
      {"layer.*.down", "layers.*.mlp.down_proj", "blk.*.ffn_down", "[D, F]", has<&Config::mlp_bias>},
      {"final_norm", "norm", "output_norm", "[D]", has<&Config::norm_bias>, has<&Config::norm_weight>},
      head("lm_head"),
  };
  // clang-format on
  for (size_t i : {2, 3}) rows[i].gguf_transform = gguf_queries_and_keys;
  return rows;
}

Family llama_family() {
  Family f;
  f.name = "llama";
  f.model_types = {"llama"};
  f.gguf_architectures = {"llama"};
  f.architecture = "LlamaForCausalLM";
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false,
                   "mlp_bias": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "mlp_bias"});
  f.gguf_windows = WindowRule::all;
  f.weights = llama_weights(Transform::unpermute);
  return f;
}

}  // namespace outliers::models
