// MPT 7B and 30B: ALiBi, no biases at all, one matrix for queries, keys and values.
#include "outliers/core/error.h"
#include "outliers/models/families/table.h"
#include "outliers/models/gguf_keys.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

Family mpt_family() {
  Family f;
  f.name = "mpt";
  f.model_types = {"mpt"};
  f.gguf_architectures = {"mpt"};
  f.defaults = R"({"hidden_act": "gelu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "tie_word_embeddings": true})";
  f.only = R"({"no_bias": true, "logit_scale": null, "ffn_config": null})";
  f.keys = {{"hidden_size", "d_model"},
            {"num_hidden_layers", "n_layers"},
            {"num_attention_heads", "n_heads"},
            {"max_position_embeddings", "max_seq_len"},
            {"rms_norm_eps", "layer_norm_epsilon"}};
  f.mlp_factor = 4;
  f.traits.norm = NormKind::layer;
  f.traits.norm_epsilon = 1e-5;
  f.traits.activation = Activation::gelu;
  f.traits.gated_mlp = false;
  f.traits.fused_qkv = true;
  f.traits.positions = Positions::alibi;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    const std::string norm = fields.string("norm_type", "layernorm");
    require(norm.find("rms") == std::string::npos, "{}: 'norm_type' of '{}' is not supported", fields.where(),
            printable(norm));
    config.mlp_width = fields.integer("expansion_ratio", 4) * config.width;
    double bias = 8.0;
    if (fields.has("attn_config")) {
      const Fields attention = fields.object("attn_config");
      attention.require_only(
          R"({"alibi": true, "prefix_lm": false, "qk_ln": false, "attn_uses_sequence_id": false,
                                 "attn_type": "multihead_attention", "rope": false, "sliding_window_size": -1})");
      config.qkv_clip = attention.number("clip_qkv", 0.0);
      config.attention_scale = attention.number("softmax_scale", config.attention_scale);
      bias = attention.number("alibi_bias_max", bias);  // transformers takes 8 whatever it says
    }
    config.alibi_slopes = alibi_slopes(config.heads, bias);
  };
  f.read_gguf = [](const Keys& keys, const io::Checkpoint&, Config& config) {
    config.qkv_clip = keys.number("attention.clamp_kqv", 0.0);
    const double bias = keys.number("attention.max_alibi_bias", 0.0);
    require(bias > 0, "{}: positions other than ALiBi are not supported: '{}' is {}", keys.where(),
            keys.name("attention.max_alibi_bias"), bias);
    config.alibi_slopes = alibi_slopes(config.heads, bias);
  };
  f.prefixes = {"transformer.", ""};
  f.weights = {
      {"embedding", "wte", "token_embd", "[V, D]"},
      {"layer.*.attn_norm", "blocks.*.norm_1", "blk.*.attn_norm", "[D]"},
      {"layer.*.qkv", "blocks.*.attn.Wqkv", "blk.*.attn_qkv", "[3*H*d, D]"},
      {"layer.*.o", "blocks.*.attn.out_proj", "blk.*.attn_output", "[D, H*d]"},
      {"layer.*.mlp_norm", "blocks.*.norm_2", "blk.*.ffn_norm", "[D]"},
      {"layer.*.up", "blocks.*.ffn.up_proj", "blk.*.ffn_up", "[F, D]"},
      {"layer.*.down", "blocks.*.ffn.down_proj", "blk.*.ffn_down", "[D, F]"},
      {"final_norm", "norm_f", "output_norm", "[D]"},
      head("lm_head"),
  };
  return f;
}

}  // namespace outliers::models
