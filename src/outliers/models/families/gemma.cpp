// Gemma 1.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family gemma_family() {
  Family f;
  f.name = "gemma";
  f.model_types = {"gemma"};
  f.gguf_architectures = {"gemma"};
  f.defaults = R"({"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "tie_word_embeddings": true, "attention_bias": false,
                   "head_dim": 256})";
  f.reads =
      rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "use_bidirectional_attention"});
  f.traits.activation = Activation::gelu_tanh;
  f.traits.storage.norm_less_one = true;
  f.scaled_embeddings = true;
  // The first checkpoints say "gelu" and were trained with its approximation.
  f.read_hugging_face = [](const Fields&, Config& config) {
    if (config.activation == Activation::gelu) config.activation = Activation::gelu_tanh;
  };
  f.weights = llama_weights(Transform::none);
  return f;
}

}  // namespace outliers::models
