// MPT 7B and 30B: ALiBi, no biases at all, one matrix for queries, keys and values.
#include "outliers/core/error.h"
#include "outliers/models/config_keys.h"
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
  f.reads = {"attn_config"};
  f.keys = {{"hidden_size", {"hidden_size", "d_model"}},
            {"num_hidden_layers", {"num_hidden_layers", "n_layers"}},
            {"num_attention_heads", {"num_attention_heads", "n_heads"}},
            {"max_position_embeddings", {"max_seq_len"}},
            {"intermediate_size", {}},
            {"rms_norm_eps", {"layer_norm_epsilon"}},
            {"hidden_act", {}}};
  f.mlp_factor = 4;
  f.traits.norm = NormKind::layer;
  f.traits.norm_epsilon = 1e-5;
  f.traits.activation = Activation::gelu;
  f.traits.gated_mlp = false;
  f.traits.storage.fused_qkv = true;
  f.traits.positions = Positions::alibi;
  f.biases = Biases::fixed;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    config.alibi_slopes = alibi_slopes(config.heads);
    if (!fields.has("attn_config")) return;
    const Fields attention = fields.object("attn_config");
    config.qkv_clip = attention.number("clip_qkv", 0.0);
    config.attention_scale = attention.number("softmax_scale", config.attention_scale);
    // MosaicML's own code can do more than transformers' class, which reads no more.
    static const nlohmann::json usual = nlohmann::json::parse(
        R"({"alibi": true, "alibi_bias_max": 8, "attn_type": "multihead_attention", "attn_uses_sequence_id": false,
            "prefix_lm": false, "qk_gn": false, "qk_ln": false, "rope": false, "sliding_window_size": -1})");
    std::vector<std::string> unread;
    for (const auto& [key, value] : usual.items()) {
      const nlohmann::json* found = attention.find(key.c_str());
      if (found != nullptr && *found != value) unread.push_back("attn_config: " + key);
    }
    warn_of_unread(fields.where(), config.family, unread);
  };
  f.read_gguf = [](const Keys& keys, const io::Checkpoint&, Config& config) {
    config.qkv_clip = keys.number("attention.clamp_kqv", 0.0);
    const double bias = keys.number("attention.max_alibi_bias", 0.0);
    require(bias > 0, kUnsupported, "{}: positions other than ALiBi are not supported: '{}' is {}",
            keys.where(), keys.name("attention.max_alibi_bias"), bias);
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
