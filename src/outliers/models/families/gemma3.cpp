// Gemma 3, the text model of all sizes.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family gemma3_family() {
  Family f;
  f.name = "gemma3";
  f.model_types = {"gemma3_text", "gemma3"};
  f.gguf_architectures = {"gemma3"};
  f.architecture = "Gemma3ForCausalLM";
  // The text_config of the larger checkpoints names little more than what differs from these.
  f.defaults = R"({"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
                   "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
                   "tie_word_embeddings": true, "attention_bias": false, "vocab_size": 262208,
                   "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
                   "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                   "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6})";
  f.reads =
      rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "use_bidirectional_attention",
                       "query_pre_attn_scalar", "final_logit_softcapping", "sliding_window", "layer_types",
                       "sliding_window_pattern", "rope_local_base_freq"});
  f.keys = {{"hidden_act", {"hidden_activation"}}};
  f.wrapper = "gemma3";
  f.traits.activation = Activation::gelu_tanh;
  f.traits.storage.norm_less_one = true;
  f.traits.branch_norms = true;
  f.traits.qk_norm = QkNorm::shared;
  f.windows = WindowRule::all_but_nth;
  f.window_pattern = 6;
  f.local_rotary_base = 10000.0;
  f.scaled_embeddings = true;
  f.gguf_layers_scaled_by_width = 62;  // 27B
  f.prefixes = {"model.", "language_model.model.", "model.language_model.", "language_model.", ""};
  f.ignored = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
               "model.multi_modal_projector."};
  f.weights = gemma2_weights();
  f.weights.push_back({"layer.*.q_norm", "layers.*.self_attn.q_norm", "blk.*.attn_q_norm", "[d]"});
  f.weights.push_back({"layer.*.k_norm", "layers.*.self_attn.k_norm", "blk.*.attn_k_norm", "[d]"});
  return f;
}

}  // namespace outliers::models
