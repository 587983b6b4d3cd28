// Mixtral 8x7B and 8x22B (arXiv 2401.04088). In GGUF files it is of the architecture llama.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family mixtral_family() {
  Family f;
  f.name = "mixtral";
  f.model_types = {"mixtral"};
  f.gguf_architectures = {"llama"};
  f.mixture = true;
  f.keys = {{"num_experts", {"num_experts", "num_local_experts"}}};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
                   "rope_theta": 1000000.0, "tie_word_embeddings": false, "num_key_value_heads": 8,
                   "num_experts": 8, "num_experts_per_tok": 2})";
  f.reads = rotary_keys_and(
      {"num_key_value_heads", "head_dim", "sliding_window", "num_experts", "num_experts_per_tok"});
  f.biases = Biases::fixed;
  f.windows = WindowRule::all;
  f.weights = with_experts(
      llama_weights(Transform::unpermute),
      {"layers.*.block_sparse_moe.gate", "layers.*.block_sparse_moe.experts.#.w1",
       "layers.*.block_sparse_moe.experts.#.w3", "layers.*.block_sparse_moe.experts.#.w2",
       "layers.*.mlp.gate", "layers.*.mlp.experts.gate_up_proj$", "layers.*.mlp.experts.down_proj$"});
  return f;
}

}  // namespace outliers::models
