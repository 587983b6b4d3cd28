// GPT-NeoX 20B and Pythia.
#include "outliers/core/error.h"
#include "outliers/models/families/table.h"
#include "outliers/models/gguf_keys.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

void require_even_heads(const Fields& fields, const Config& config) {
  require(config.head_width * config.heads == config.width, kUnsupported,
          "{}: heads of {} channels are not supported: {} channels in {} heads leave {} to each",
          fields.where(), config.head_width, config.width, config.heads, config.width / config.heads);
}

Family gpt_neox_family() {
  Family f;
  f.name = "gpt_neox";
  f.model_types = {"gpt_neox"};
  f.gguf_architectures = {"gptneox"};
  f.defaults = R"({"hidden_act": "gelu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "partial_rotary_factor": 0.25, "tie_word_embeddings": false,
                   "attention_bias": true, "mlp_bias": true})";
  f.reads = rotary_keys_and({"head_dim", "attention_bias", "partial_rotary_factor", "use_parallel_residual"});
  f.keys = {{"rms_norm_eps", {"layer_norm_eps"}},
            {"rope_theta", {"rotary_emb_base"}},
            {"partial_rotary_factor", {"rotary_pct"}}};
  f.traits.norm = NormKind::layer;
  f.traits.norm_bias = true;
  f.traits.norm_epsilon = 1e-5;
  f.traits.activation = Activation::gelu;
  f.traits.gated_mlp = false;
  f.traits.storage.fused_qkv = true;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    require_even_heads(fields, config);
    config.parallel = fields.boolean("use_parallel_residual", true);
  };
  f.read_gguf = [](const Keys& keys, const io::Checkpoint&, Config& config) {
    config.parallel = keys.boolean("use_parallel_residual", true);
  };
  f.prefixes = {"gpt_neox.", ""};
  f.ignored = {"*.attention.bias", "*.attention.masked_bias"};  // masks that older versions saved
  constexpr Condition kAttention = has<&Config::attention_bias>, kMlp = has<&Config::mlp_bias>,
                      kNorm = has<&Config::norm_bias>;
  // clang-format off
  f.weights = {
      {"embedding", "embed_in", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "layers.*.input_layernorm", "blk.*.attn_norm", "[D]", kNorm},
      hugging_face(Transform::ungroup_qkv, {"layer.*.qkv", "layers.*.attention.query_key_value", "blk.*.attn_qkv", "[3*H*d, D]", kAttention}),
      {"layer.*.o", "layers.*.attention.dense", "blk.*.attn_output", "[D, H*d]", has<&Config::output_bias>},
      {"layer.*.mlp_norm", "layers.*.post_attention_layernorm", "blk.*.ffn_norm", "[D]", kNorm},
      {"layer.*.up", "layers.*.mlp.dense_h_to_4h", "blk.*.ffn_up", "[F, D]", kMlp},
      {"layer.*.down", "layers.*.mlp.dense_4h_to_h", "blk.*.ffn_down", "[D, F]", kMlp},
      {"final_norm", "final_layer_norm", "output_norm", "[D]", kNorm},
      head("embed_out"),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
