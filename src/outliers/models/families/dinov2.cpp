// DINOv2 (arXiv 2304.07193): a ViT with LayerScale, in the giant size with a SwiGLU, for images of any size.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family dinov2_family() {
  Family f = vit_like_family();
  f.name = "dinov2";
  f.model_types = {"dinov2"};
  f.defaults = R"({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "mlp_ratio": 4,
                   "hidden_act": "gelu", "rms_norm_eps": 1e-6, "image_size": 224, "patch_size": 14,
                   "num_channels": 3, "qkv_bias": true, "use_swiglu_ffn": false})";
  f.reads = {"qkv_bias", "head_dim", "mlp_ratio", "use_swiglu_ffn"};
  f.keys.push_back({"intermediate_size", {}});
  f.mlp_factor = 4;
  f.traits.branch_scales = true;
  f.traits.vision.resize = PositionResize::bicubic;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.attention_bias = fields.boolean("qkv_bias", true);
    config.mlp_width = static_cast<int64_t>(static_cast<double>(config.width) * fields.number("mlp_ratio"));
    config.gated_mlp = config.storage.fused_gate_up = fields.boolean("use_swiglu_ffn", false);
    if (!config.gated_mlp) return;
    // Two thirds, in steps of eight, whatever hidden_act says.
    config.activation = Activation::silu;
    config.mlp_width = (config.mlp_width * 2 / 3 + 7) / 8 * 8;
  };
  f.prefixes = {"dinov2.", ""};
  f.ignored = {"classifier.", "*embeddings.mask_token"};
  constexpr Condition kAlways = has<&Config::norm_bias>, kGated = has<&Config::gated_mlp>,
                      kPlain = lacks<&Config::gated_mlp>;
  // clang-format off
  const WeightRow rows[] = {
      {"layer.*.attn_norm", "encoder.layer.*.norm1", nullptr, "[D]", kAlways},
      {"layer.*.attn_scale", "encoder.layer.*.layer_scale1.lambda1$", nullptr, "[D]"},
      {"layer.*.mlp_norm", "encoder.layer.*.norm2", nullptr, "[D]", kAlways},
      {"layer.*.up", "encoder.layer.*.mlp.fc1", nullptr, "[F, D]", kAlways, kPlain},
      {"layer.*.down", "encoder.layer.*.mlp.fc2", nullptr, "[D, F]", kAlways, kPlain},
      {"layer.*.gate_up", "encoder.layer.*.mlp.weights_in", nullptr, "[2*F, D]", kAlways, kGated},
      {"layer.*.down", "encoder.layer.*.mlp.weights_out", nullptr, "[D, F]", kAlways, kGated},
      {"layer.*.mlp_scale", "encoder.layer.*.layer_scale2.lambda1$", nullptr, "[D]"},
  };
  // clang-format on
  f.weights.insert(f.weights.end(), std::begin(rows), std::end(rows));
  return f;
}

}  // namespace outliers::models
