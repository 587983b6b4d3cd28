// Mistral 7B and what is saved as one. In GGUF files it is of the architecture llama.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family mistral_family() {
  Family f;
  f.name = "mistral";
  f.model_types = {"mistral"};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "num_key_value_heads": 8,
                   "sliding_window": 4096})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "sliding_window"});
  f.biases = Biases::fixed;
  f.windows = WindowRule::all;
  f.weights = llama_weights(Transform::unpermute);
  return f;
}

}  // namespace outliers::models
