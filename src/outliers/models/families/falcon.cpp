// Falcon: 7B (one key/value head), 40B and 180B (grouped heads, a norm each for attention and MLP), 11B
// (grouped heads, one norm), and the RefinedWeb models, which are sequential with ALiBi.
#include "outliers/io/checkpoint.h"
#include "outliers/models/config_keys.h"
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

namespace {

void read_falcon(const Fields& fields, Config& config) {
  const bool grouped = fields.boolean("new_decoder_architecture", false);
  const bool multi_query = fields.truth("multi_query", true), parallel = fields.truth("parallel_attn", true);
  if (grouped) {
    if (!multi_query) warn_of_precedence(fields.where(), "new_decoder_architecture", "multi_query");
    if (!parallel) warn_of_precedence(fields.where(), "new_decoder_architecture", "parallel_attn");
  } else {
    // Files have the number of all heads there for none in particular.
    const int64_t stated = config.kv_heads;
    config.kv_heads = multi_query ? 1 : config.heads;
    if (stated != config.kv_heads && stated != config.heads) {
      warn_of_precedence(fields.where(), "multi_query", "num_kv_heads");
    }
  }
  config.parallel = grouped || parallel;
  config.shared_norm = config.parallel && (!grouped || fields.integer("num_ln_in_parallel_attn", 2) == 1);
  config.attention_bias = config.output_bias = config.mlp_bias = fields.boolean("bias", false);
  if (!fields.boolean("alibi", false)) return;
  // The bias is added before the scores are scaled. transformers rounds it to bfloat16, the formula does not.
  config.positions = Positions::alibi;
  config.alibi_slopes = alibi_slopes(config.heads);
  for (double& slope : config.alibi_slopes) slope *= config.attention_scale;
}

}  // namespace

Family falcon_family() {
  Family f;
  f.name = "falcon";
  f.model_types = {"falcon"};
  f.gguf_architectures = {"falcon"};
  f.defaults = R"({"hidden_act": "gelu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "tie_word_embeddings": true})";
  f.reads = rotary_keys_and({"num_key_value_heads", "new_decoder_architecture", "multi_query",
                             "parallel_attn", "num_ln_in_parallel_attn", "bias", "alibi"});
  // Of the first files; the class has their n_embed alone.
  f.keys = {{"hidden_size", {"n_embed", "hidden_size"}},
            {"num_hidden_layers", {"num_hidden_layers", "n_layer"}},
            {"num_attention_heads", {"num_attention_heads", "n_head"}},
            {"num_key_value_heads", {"num_kv_heads"}},
            {"intermediate_size", {"ffn_hidden_size"}},
            {"rms_norm_eps", {"layer_norm_epsilon"}},
            {"hidden_act", {"activation"}}};
  f.mlp_factor = 4;
  f.traits.norm = NormKind::layer;
  f.traits.norm_bias = true;
  f.traits.norm_epsilon = 1e-5;
  f.traits.activation = Activation::gelu;
  f.traits.gated_mlp = false;
  f.traits.storage.fused_qkv = true;
  f.read_hugging_face = read_falcon;
  f.read_gguf = [](const Keys&, const io::Checkpoint& checkpoint, Config& config) {
    config.parallel = true;
    config.shared_norm = checkpoint.find("blk.0.attn_norm_2.weight") == nullptr;
  };
  f.prefixes = {"transformer.", ""};
  constexpr Condition kAttention = has<&Config::attention_bias>, kMlp = has<&Config::mlp_bias>,
                      kNorm = has<&Config::norm_bias>;
  constexpr Condition kTwoNorms = [](const Config& c) { return c.parallel && !c.shared_norm; };
  constexpr Condition kOneNorm = [](const Config& c) { return !c.parallel || c.shared_norm; };
  // clang-format off
  f.weights = {
      {"embedding", "word_embeddings", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "h.*.input_layernorm", "blk.*.attn_norm", "[D]", kNorm, kOneNorm},
      {"layer.*.attn_norm", "h.*.ln_attn", "blk.*.attn_norm_2", "[D]", kNorm, kTwoNorms},
      {"layer.*.mlp_norm", "h.*.ln_mlp", "blk.*.attn_norm", "[D]", kNorm, kTwoNorms},
      hugging_face(Transform::ungroup_qkv, {"layer.*.qkv", "h.*.self_attention.query_key_value", "blk.*.attn_qkv", "[H*d + 2*Hk*d, D]", kAttention}),
      {"layer.*.o", "h.*.self_attention.dense", "blk.*.attn_output", "[D, H*d]", has<&Config::output_bias>},
      {"layer.*.mlp_norm", "h.*.post_attention_layernorm", nullptr, "[D]", kNorm, lacks<&Config::parallel>},
      {"layer.*.up", "h.*.mlp.dense_h_to_4h", "blk.*.ffn_up", "[F, D]", kMlp},
      {"layer.*.down", "h.*.mlp.dense_4h_to_h", "blk.*.ffn_down", "[D, F]", kMlp},
      {"final_norm", "ln_f", "output_norm", "[D]", kNorm},
      head("lm_head"),
  };
  // clang-format on
  return f;
}

}  // namespace outliers::models
