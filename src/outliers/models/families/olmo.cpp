// OLMo 1: norms without anything learnt; some sizes clip queries, keys and values.
#include "outliers/models/families/table.h"
#include "outliers/models/gguf_keys.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family olmo_family() {
  Family f;
  f.name = "olmo";
  f.model_types = {"olmo"};
  f.gguf_architectures = {"olmo"};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "clip_qkv"});
  f.keys = {{"rms_norm_eps", {}}};
  f.traits.norm = NormKind::layer;
  f.traits.norm_weight = false;
  f.traits.norm_epsilon = 1e-5;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.qkv_clip = fields.number("clip_qkv", 0.0);
  };
  f.read_gguf = [](const Keys& keys, const io::Checkpoint&, Config& config) {
    config.qkv_clip = keys.number("attention.clamp_kqv", 0.0);
  };
  f.weights = llama_weights(Transform::unpermute);
  return f;
}

}  // namespace outliers::models
