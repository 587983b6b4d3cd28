// Qwen 3, the dense sizes.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family qwen3_family() {
  Family f;
  f.name = "qwen3";
  f.model_types = {"qwen3"};
  f.gguf_architectures = {"qwen3"};
  f.defaults =
      R"({"hidden_act": "silu", "head_dim": 128, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false,
                   "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "use_sliding_window",
                             "sliding_window", "max_window_layers", "layer_types"});
  f.traits.qk_norm = QkNorm::shared;
  f.windows = WindowRule::upper;
  f.weights = llama_weights(Transform::none);
  f.weights.push_back({"layer.*.q_norm", "layers.*.self_attn.q_norm", "blk.*.attn_q_norm", "[d]"});
  f.weights.push_back({"layer.*.k_norm", "layers.*.self_attn.k_norm", "blk.*.attn_k_norm", "[d]"});
  return f;
}

}  // namespace outliers::models
