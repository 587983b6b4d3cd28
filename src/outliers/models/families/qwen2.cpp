// Qwen 2 and 2.5.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family qwen2_family() {
  Family f;
  f.name = "qwen2";
  f.model_types = {"qwen2"};
  f.gguf_architectures = {"qwen2"};
  f.architecture = "Qwen2ForCausalLM";
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "use_sliding_window": false,
                   "sliding_window": 4096, "max_window_layers": 28})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "use_sliding_window", "sliding_window",
                             "max_window_layers", "layer_types"});
  f.traits.attention_bias = true;
  f.biases = Biases::fixed;
  f.windows = WindowRule::upper;
  f.weights = llama_weights(Transform::none);
  return f;
}

}  // namespace outliers::models
