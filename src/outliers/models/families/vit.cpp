// ViT (arXiv 2010.11929), and what the families that grew from it share.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family vit_like_family() {
  Family f;
  f.vision = true;
  f.defaults = R"({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                   "intermediate_size": 3072, "hidden_act": "gelu", "rms_norm_eps": 1e-12, "image_size": 224,
                   "patch_size": 16, "num_channels": 3, "qkv_bias": true})";
  f.reads = {"qkv_bias", "head_dim"};
  f.only = R"({"num_channels": 3})";
  f.keys = {{"rms_norm_eps", {"layer_norm_eps"}}};
  f.traits.norm = NormKind::layer;
  f.traits.norm_bias = true;
  f.traits.activation = Activation::gelu;
  f.traits.gated_mlp = false;
  f.traits.causal = false;
  f.traits.positions = Positions::learned;
  f.traits.output_bias = f.traits.mlp_bias = true;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.attention_bias = fields.boolean("qkv_bias", true);
  };
  constexpr Condition kAlways = has<&Config::norm_bias>, kQkv = has<&Config::attention_bias>;
  // clang-format off
  f.weights = {
      hugging_face(Transform::flatten, {"patch_embedding", "embeddings.patch_embeddings.projection", nullptr, "[D, C*ph*pw]", kAlways}),
      {"cls", "embeddings.cls_token$", nullptr, "[1, 1, D]"},
      {"positions", "embeddings.position_embeddings$", nullptr, "[1, P, D]"},
      {"layer.*.q", "encoder.layer.*.attention.attention.query", nullptr, "[H*d, D]", kQkv},
      {"layer.*.k", "encoder.layer.*.attention.attention.key", nullptr, "[H*d, D]", kQkv},
      {"layer.*.v", "encoder.layer.*.attention.attention.value", nullptr, "[H*d, D]", kQkv},
      {"layer.*.o", "encoder.layer.*.attention.output.dense", nullptr, "[D, H*d]", kAlways},
      {"final_norm", "layernorm", nullptr, "[D]", kAlways},
  };
  // clang-format on
  return f;
}

Family vit_family() {
  Family f = vit_like_family();
  f.name = "vit";
  f.model_types = {"vit"};
  f.prefixes = {"vit.", ""};
  // Heads, and what masked training adds.
  f.ignored = {"classifier.", "pooler.", "vit.pooler.", "decoder.", "*embeddings.mask_token"};
  constexpr Condition kAlways = has<&Config::norm_bias>;
  // clang-format off
  const WeightRow rows[] = {
      {"layer.*.attn_norm", "encoder.layer.*.layernorm_before", nullptr, "[D]", kAlways},
      {"layer.*.mlp_norm", "encoder.layer.*.layernorm_after", nullptr, "[D]", kAlways},
      {"layer.*.up", "encoder.layer.*.intermediate.dense", nullptr, "[F, D]", kAlways},
      {"layer.*.down", "encoder.layer.*.output.dense", nullptr, "[D, F]", kAlways},
  };
  // clang-format on
  f.weights.insert(f.weights.end(), std::begin(rows), std::end(rows));
  return f;
}

}  // namespace outliers::models
