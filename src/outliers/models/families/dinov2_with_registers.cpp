// DINOv2 with registers (arXiv 2309.16588): learnt tokens without a position between CLS and the patches.
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family dinov2_family();

Family dinov2_with_registers_family() {
  Family f = dinov2_family();
  f.name = "dinov2_with_registers";
  f.model_types = {"dinov2_with_registers"};
  f.defaults = R"({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "mlp_ratio": 4,
                   "hidden_act": "gelu", "rms_norm_eps": 1e-6, "image_size": 224, "patch_size": 16,
                   "num_channels": 3, "qkv_bias": true, "use_swiglu_ffn": false, "num_register_tokens": 4})";
  f.reads = {"qkv_bias", "head_dim", "mlp_ratio", "use_swiglu_ffn", "num_register_tokens"};
  f.traits.vision.resize = PositionResize::bicubic_antialiased;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    static const Family base = dinov2_family();
    base.read_hugging_face(fields, config);
    config.vision.registers = fields.integer("num_register_tokens");
  };
  f.prefixes = {"dinov2_with_registers.", ""};
  constexpr Condition kRegisters = [](const Config& c) { return c.vision.registers > 0; };
  f.weights.push_back(
      {"registers", "embeddings.register_tokens$", nullptr, "[1, R, D]", nullptr, kRegisters});
  return f;
}

}  // namespace outliers::models
