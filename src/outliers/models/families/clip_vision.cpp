// The image tower of CLIP (arXiv 2103.00020), alone or beside its text tower, which is left out. The norm of
// the embeddings is called pre_layrnorm. The final norm is CLIP's for the CLS token alone; here it is shown
// of all tokens.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family clip_vision_family() {
  Family f = vit_like_family();
  f.name = "clip_vision";
  f.model_types = {"clip", "clip_vision_model"};
  f.defaults = R"({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                   "intermediate_size": 3072, "hidden_act": "quick_gelu", "rms_norm_eps": 1e-5,
                   "image_size": 224, "patch_size": 32, "num_channels": 3})";
  f.reads = {};
  f.wrapper = "clip";
  f.traits.attention_bias = true;
  f.traits.embedding_norm = true;
  f.read_hugging_face = nullptr;
  f.prefixes = {"vision_model.", ""};
  f.ignored = {"text_model.", "text_projection.", "visual_projection.",
               "logit_scale", "classifier.",      "*embeddings.position_ids"};
  constexpr Condition kAlways = has<&Config::norm_bias>;
  // clang-format off
  f.weights = {
      hugging_face(Transform::flatten, {"patch_embedding", "embeddings.patch_embedding", nullptr, "[D, C*ph*pw]"}),
      {"cls", "embeddings.class_embedding$", nullptr, "[D]"},
      {"positions", "embeddings.position_embedding", nullptr, "[P, D]"},
      {"embedding_norm", "pre_layrnorm", nullptr, "[D]", kAlways},
      {"layer.*.attn_norm", "encoder.layers.*.layer_norm1", nullptr, "[D]", kAlways},
      {"layer.*.q", "encoder.layers.*.self_attn.q_proj", nullptr, "[H*d, D]", kAlways},
      {"layer.*.k", "encoder.layers.*.self_attn.k_proj", nullptr, "[H*d, D]", kAlways},
      {"layer.*.v", "encoder.layers.*.self_attn.v_proj", nullptr, "[H*d, D]", kAlways},
      {"layer.*.o", "encoder.layers.*.self_attn.out_proj", nullptr, "[D, H*d]", kAlways},
      {"layer.*.mlp_norm", "encoder.layers.*.layer_norm2", nullptr, "[D]", kAlways},
      {"layer.*.up", "encoder.layers.*.mlp.fc1", nullptr, "[F, D]", kAlways},
      {"layer.*.down", "encoder.layers.*.mlp.fc2", nullptr, "[D, F]", kAlways},
      {"final_norm", "post_layernorm", nullptr, "[D]", kAlways},
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
