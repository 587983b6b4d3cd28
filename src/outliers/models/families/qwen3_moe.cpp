// Qwen 3 with experts.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family qwen3_moe_family() {
  Family f;
  f.name = "qwen3_moe";
  f.model_types = {"qwen3_moe"};
  f.gguf_architectures = {"qwen3moe"};
  f.mixture = true;
  f.keys = {{"num_experts", {"num_local_experts", "num_experts"}}};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false,
                   "num_key_value_heads": 4, "num_experts": 128, "use_sliding_window": false, "sliding_window": 4096,
                   "decoder_sparse_step": 1, "moe_intermediate_size": 768, "num_experts_per_tok": 8,
                   "norm_topk_prob": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "use_sliding_window",
                             "sliding_window", "num_experts", "num_experts_per_tok", "moe_intermediate_size",
                             "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers"});
  f.traits.qk_norm = QkNorm::shared;
  f.windows = WindowRule::all;
  f.weights = qwen_expert_weights();
  f.weights.push_back({"layer.*.q_norm", "layers.*.self_attn.q_norm", "blk.*.attn_q_norm", "[d]"});
  f.weights.push_back({"layer.*.k_norm", "layers.*.self_attn.k_norm", "blk.*.attn_k_norm", "[d]"});
  return f;
}

}  // namespace outliers::models
