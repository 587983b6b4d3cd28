// GPT-2, all sizes, and models trained with its code (CRFM's, whose scores fall with the layer's number).
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family gpt2_family() {
  Family f;
  f.name = "gpt2";
  f.model_types = {"gpt2"};
  f.gguf_architectures = {"gpt2"};
  f.defaults = R"({"vocab_size": 50257, "hidden_act": "gelu_new", "max_position_embeddings": 1024,
                   "rms_norm_eps": 1e-5, "tie_word_embeddings": true})";
  f.reads = {"scale_attn_weights", "scale_attn_by_inverse_layer_idx", "add_cross_attention"};
  f.only = R"({"add_cross_attention": false})";
  f.keys = {{"hidden_size", {"hidden_size", "n_embd"}},
            {"num_hidden_layers", {"num_hidden_layers", "n_layer"}},
            {"num_attention_heads", {"num_attention_heads", "n_head"}},
            {"intermediate_size", {"n_inner"}},
            {"rms_norm_eps", {"layer_norm_epsilon"}},
            {"max_position_embeddings", {"max_position_embeddings", "n_positions"}},
            {"hidden_act", {"activation_function"}}};
  f.mlp_factor = 4;
  f.traits.norm = NormKind::layer;
  f.traits.norm_bias = true;
  f.traits.norm_epsilon = 1e-5;
  f.traits.activation = Activation::gelu_tanh;
  f.traits.gated_mlp = false;
  f.traits.positions = Positions::learned;
  f.traits.storage.fused_qkv = f.traits.attention_bias = f.traits.output_bias = f.traits.mlp_bias = true;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    if (!fields.boolean("scale_attn_weights", true)) config.attention_scale = 1.0;
    config.scale_by_layer = fields.boolean("scale_attn_by_inverse_layer_idx", false);
  };
  f.prefixes = {"transformer.", ""};
  f.ignored = {"*.attn.bias", "*.attn.masked_bias"};  // masks that older versions saved
  constexpr Condition kBias = has<&Config::mlp_bias>;
  constexpr Transform kTranspose = Transform::transpose;
  // clang-format off
  f.weights = {
      {"embedding", "wte", "token_embd", "[V, D]"},
      {"positions", "wpe", "position_embd", "[P, D]"},
      {"layer.*.attn_norm", "h.*.ln_1", "blk.*.attn_norm", "[D]", kBias},
      hugging_face(kTranspose, {"layer.*.qkv", "h.*.attn.c_attn", "blk.*.attn_qkv", "[3*H*d, D]", kBias}),
      hugging_face(kTranspose, {"layer.*.o", "h.*.attn.c_proj", "blk.*.attn_output", "[D, H*d]", kBias}),
      {"layer.*.mlp_norm", "h.*.ln_2", "blk.*.ffn_norm", "[D]", kBias},
      hugging_face(kTranspose, {"layer.*.up", "h.*.mlp.c_fc", "blk.*.ffn_up", "[F, D]", kBias}),
      hugging_face(kTranspose, {"layer.*.down", "h.*.mlp.c_proj", "blk.*.ffn_down", "[D, F]", kBias}),
      {"final_norm", "ln_f", "output_norm", "[D]", kBias},
      head("lm_head"),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
