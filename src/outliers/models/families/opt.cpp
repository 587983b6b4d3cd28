// OPT 125M to 66B. The 350M model norms the residual itself, after each addition, and has embeddings narrower
// than its layers. GGUF has no architecture for it.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family opt_family() {
  Family f;
  f.name = "opt";
  f.model_types = {"opt"};
  f.defaults = R"({"hidden_act": "relu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "tie_word_embeddings": true})";
  f.reads = {"word_embed_proj_dim", "do_layer_norm_before", "_remove_final_layer_norm", "enable_bias",
             "layer_norm_elementwise_affine"};
  f.keys = {
      {"intermediate_size", {"ffn_dim"}}, {"hidden_act", {"activation_function"}}, {"rms_norm_eps", {}}};
  f.traits.norm = NormKind::layer;
  f.traits.activation = Activation::relu;
  f.traits.gated_mlp = false;
  f.traits.positions = Positions::learned;
  f.traits.position_offset = 2;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.embedding_width = fields.integer("word_embed_proj_dim", config.width);
    config.input_norms = fields.boolean("do_layer_norm_before", true);
    config.residual_norms = !config.input_norms;
    config.final_norm = config.input_norms && !fields.boolean("_remove_final_layer_norm", false);
    config.attention_bias = config.output_bias = config.mlp_bias = fields.boolean("enable_bias", true);
    config.norm_weight = config.norm_bias = fields.boolean("layer_norm_elementwise_affine", true);
  };
  f.prefixes = {"model.decoder.", "decoder.", ""};
  constexpr Condition kAttention = has<&Config::attention_bias>, kMlp = has<&Config::mlp_bias>,
                      kNorm = has<&Config::norm_weight>;
  constexpr Condition kProjects = [](const Config& c) { return c.embedding_width != c.width; };
  constexpr Condition kFinal = [](const Config& c) { return c.final_norm && c.norm_weight; };
  // clang-format off
  f.weights = {
      {"embedding", "embed_tokens", nullptr, "[V, De]"},
      {"positions", "embed_positions", nullptr, "[P + 2, D]"},
      {"embedding_projection", "project_in", nullptr, "[D, De]", nullptr, kProjects},
      {"layer.*.attn_norm", "layers.*.self_attn_layer_norm", nullptr, "[D]", kNorm, kNorm},
      {"layer.*.q", "layers.*.self_attn.q_proj", nullptr, "[H*d, D]", kAttention},
      {"layer.*.k", "layers.*.self_attn.k_proj", nullptr, "[H*d, D]", kAttention},
      {"layer.*.v", "layers.*.self_attn.v_proj", nullptr, "[H*d, D]", kAttention},
      {"layer.*.o", "layers.*.self_attn.out_proj", nullptr, "[D, H*d]", kAttention},
      {"layer.*.mlp_norm", "layers.*.final_layer_norm", nullptr, "[D]", kNorm, kNorm},
      {"layer.*.up", "layers.*.fc1", nullptr, "[F, D]", kMlp},
      {"layer.*.down", "layers.*.fc2", nullptr, "[D, F]", kMlp},
      {"final_norm", "final_layer_norm", nullptr, "[D]", kNorm, kFinal},
      {"head_projection", "project_out", nullptr, "[De, D]", nullptr, kProjects},
      head("lm_head", "[V, De]"),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
