// StableLM: partial rotary, LayerNorm; the 12B norms each head of queries and keys by weights of its own and
// adds attention and MLP in parallel.
#include "outliers/io/checkpoint.h"
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family stablelm_family() {
  Family f;
  f.name = "stablelm";
  f.model_types = {"stablelm"};
  f.gguf_architectures = {"stablelm"};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "partial_rotary_factor": 0.25, "tie_word_embeddings": false})";
  f.reads = rotary_keys_and({"num_key_value_heads", "head_dim", "partial_rotary_factor", "use_qkv_bias",
                             "use_parallel_residual", "qk_layernorm"});
  f.keys = {{"rms_norm_eps", {"layer_norm_eps"}}};
  f.traits.norm = NormKind::layer;
  f.traits.norm_bias = true;
  f.traits.norm_epsilon = 1e-5;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    require_even_heads(fields, config);
    config.attention_bias = fields.boolean("use_qkv_bias", false);
    config.output_bias = config.mlp_bias = false;
    config.parallel = config.shared_norm = fields.boolean("use_parallel_residual", false);
    config.qk_norm = fields.boolean("qk_layernorm", false) ? QkNorm::per_head : QkNorm::none;
  };
  f.read_gguf = [](const Keys&, const io::Checkpoint& checkpoint, Config& config) {
    config.parallel = config.shared_norm = checkpoint.find("blk.0.ffn_norm.weight") == nullptr;
    const bool normed = checkpoint.find("blk.0.attn_q_norm.weight") != nullptr;
    config.qk_norm = normed ? QkNorm::per_head : QkNorm::none;
  };
  constexpr Condition kNormed = has<&Config::qk_norm>;
  f.weights = llama_weights(Transform::none);
  f.weights.push_back({"layer.*.q_norm", "layers.*.self_attn.q_layernorm.norms.#", "blk.*.attn_q_norm",
                       "[H, d]", nullptr, kNormed});
  f.weights.push_back({"layer.*.k_norm", "layers.*.self_attn.k_layernorm.norms.#", "blk.*.attn_k_norm",
                       "[Hk, d]", nullptr, kNormed});
  return f;
}

}  // namespace outliers::models
