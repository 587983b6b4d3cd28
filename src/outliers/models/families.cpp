#include "outliers/models/families.h"

#include <fmt/ranges.h>

#include "outliers/core/error.h"

namespace outliers::models {

namespace {

constexpr Transform kUnpermute = Transform::unpermute;
constexpr Transform kAsIs = Transform::none;

// clang-format off
const std::vector<WeightRow> kLlamaWeights = {
    {"embedding.weight", "embed_tokens.weight", "token_embd.weight", "[V, D]"},
    {"layer.*.attn_norm.weight", "layers.*.input_layernorm.weight", "blk.*.attn_norm.weight", "[D]"},
    {"layer.*.q.weight", "layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight", "[H*d, D]", kUnpermute},
    {"layer.*.q.bias", "layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias", "[H*d]", kUnpermute, &Config::attention_bias},
    {"layer.*.k.weight", "layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight", "[Hk*d, D]", kUnpermute},
    {"layer.*.k.bias", "layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias", "[Hk*d]", kUnpermute, &Config::attention_bias},
    {"layer.*.v.weight", "layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight", "[Hk*d, D]"},
    {"layer.*.v.bias", "layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias", "[Hk*d]", kAsIs, &Config::attention_bias},
    {"layer.*.o.weight", "layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight", "[D, H*d]"},
    {"layer.*.o.bias", "layers.*.self_attn.o_proj.bias", "blk.*.attn_output.bias", "[D]", kAsIs, &Config::output_bias},
    {"layer.*.mlp_norm.weight", "layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight", "[D]"},
    {"layer.*.gate.weight", "layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight", "[F, D]"},
    {"layer.*.gate.bias", "layers.*.mlp.gate_proj.bias", "blk.*.ffn_gate.bias", "[F]", kAsIs, &Config::mlp_bias},
    {"layer.*.up.weight", "layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight", "[F, D]"},
    {"layer.*.up.bias", "layers.*.mlp.up_proj.bias", "blk.*.ffn_up.bias", "[F]", kAsIs, &Config::mlp_bias},
    {"layer.*.down.weight", "layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight", "[D, F]"},
    {"layer.*.down.bias", "layers.*.mlp.down_proj.bias", "blk.*.ffn_down.bias", "[D]", kAsIs, &Config::mlp_bias},
    {"final_norm.weight", "norm.weight", "output_norm.weight", "[D]"},
    {"head.weight", "lm_head.weight", "output.weight", "[V, D]", kAsIs, nullptr, &Config::tied_embeddings},
};

const std::vector<WeightRow> kQwen2Weights = {
    {"embedding.weight", "embed_tokens.weight", "token_embd.weight", "[V, D]"},
    {"layer.*.attn_norm.weight", "layers.*.input_layernorm.weight", "blk.*.attn_norm.weight", "[D]"},
    {"layer.*.q.weight", "layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight", "[H*d, D]"},
    {"layer.*.q.bias", "layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias", "[H*d]"},
    {"layer.*.k.weight", "layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight", "[Hk*d, D]"},
    {"layer.*.k.bias", "layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias", "[Hk*d]"},
    {"layer.*.v.weight", "layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight", "[Hk*d, D]"},
    {"layer.*.v.bias", "layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias", "[Hk*d]"},
    {"layer.*.o.weight", "layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight", "[D, H*d]"},
    {"layer.*.mlp_norm.weight", "layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight", "[D]"},
    {"layer.*.gate.weight", "layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight", "[F, D]"},
    {"layer.*.up.weight", "layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight", "[F, D]"},
    {"layer.*.down.weight", "layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight", "[D, F]"},
    {"final_norm.weight", "norm.weight", "output_norm.weight", "[D]"},
    {"head.weight", "lm_head.weight", "output.weight", "[V, D]", kAsIs, nullptr, &Config::tied_embeddings},
};

const std::vector<WeightRow> kGemma3Weights = {
    {"embedding.weight", "embed_tokens.weight", "token_embd.weight", "[V, D]"},
    {"layer.*.attn_norm.weight", "layers.*.input_layernorm.weight", "blk.*.attn_norm.weight", "[D]"},
    {"layer.*.q.weight", "layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight", "[H*d, D]"},
    {"layer.*.q.bias", "layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias", "[H*d]", kAsIs, &Config::attention_bias},
    {"layer.*.q_norm.weight", "layers.*.self_attn.q_norm.weight", "blk.*.attn_q_norm.weight", "[d]"},
    {"layer.*.k.weight", "layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight", "[Hk*d, D]"},
    {"layer.*.k.bias", "layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias", "[Hk*d]", kAsIs, &Config::attention_bias},
    {"layer.*.k_norm.weight", "layers.*.self_attn.k_norm.weight", "blk.*.attn_k_norm.weight", "[d]"},
    {"layer.*.v.weight", "layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight", "[Hk*d, D]"},
    {"layer.*.v.bias", "layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias", "[Hk*d]", kAsIs, &Config::attention_bias},
    {"layer.*.o.weight", "layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight", "[D, H*d]"},
    {"layer.*.o.bias", "layers.*.self_attn.o_proj.bias", "blk.*.attn_output.bias", "[D]", kAsIs, &Config::output_bias},
    {"layer.*.attn_post_norm.weight", "layers.*.post_attention_layernorm.weight", "blk.*.post_attention_norm.weight", "[D]"},
    {"layer.*.mlp_norm.weight", "layers.*.pre_feedforward_layernorm.weight", "blk.*.ffn_norm.weight", "[D]"},
    {"layer.*.gate.weight", "layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight", "[F, D]"},
    {"layer.*.up.weight", "layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight", "[F, D]"},
    {"layer.*.down.weight", "layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight", "[D, F]"},
    {"layer.*.mlp_post_norm.weight", "layers.*.post_feedforward_layernorm.weight", "blk.*.post_ffw_norm.weight", "[D]"},
    {"final_norm.weight", "norm.weight", "output_norm.weight", "[D]"},
    {"head.weight", "lm_head.weight", "output.weight", "[V, D]", kAsIs, nullptr, &Config::tied_embeddings},
};
// clang-format on

std::vector<Family> make_families() {
  std::vector<Family> rows;
  {
    Family f;
    f.name = "llama";
    f.model_types = {"llama"};
    f.gguf_architecture = "llama";
    f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
                     "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false,
                     "mlp_bias": false})";
    f.traits.activation = Activation::silu;
    f.weights = kLlamaWeights;
    rows.push_back(f);
  }
  {
    Family f;
    f.name = "qwen2";
    f.model_types = {"qwen2"};
    f.gguf_architecture = "qwen2";
    f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                     "rope_theta": 10000.0, "tie_word_embeddings": false, "use_sliding_window": false,
                     "sliding_window": 4096, "max_window_layers": 28})";
    f.traits.activation = Activation::silu;
    f.biases = Biases::query_key_value;
    f.windows = WindowRule::upper;
    f.weights = kQwen2Weights;
    rows.push_back(f);
  }
  {
    Family f;
    f.name = "gemma3";
    f.model_types = {"gemma3_text", "gemma3"};
    f.gguf_architecture = "gemma3";
    // The text_config of the larger checkpoints names little more than what differs from these.
    f.defaults = R"({"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
                     "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
                     "tie_word_embeddings": true, "attention_bias": false, "vocab_size": 262208,
                     "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
                     "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                     "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6})";
    f.traits.activation = Activation::gelu_tanh;
    f.traits.norm_adds_one = true;
    f.traits.sandwich_norms = true;
    f.traits.qk_norm = true;
    f.windows = WindowRule::all_but_nth;
    f.window_pattern = 6;
    f.local_rotary_base = 10000.0;
    f.scaled_embeddings = true;
    f.gguf_layers_scaled_by_width = 62;  // 27B
    f.prefixes = {"model.", "language_model.model.", "model.language_model.", ""};
    f.ignored = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                 "model.multi_modal_projector."};
    f.weights = kGemma3Weights;
    rows.push_back(f);
  }
  return rows;
}

std::vector<std::string> known_names() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.push_back(family.name);
  return names;
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> rows = make_families();
  return rows;
}

const Family& family_of_model_type(const std::string& model_type, const std::string& where) {
  for (const Family& family : families()) {
    for (const std::string& known : family.model_types) {
      if (known == model_type) return family;
    }
  }
  fail("{}: model_type '{}' is no family this program knows; known: {}", where, printable(model_type),
       fmt::join(known_names(), ", "));
}

const Family& family_of_gguf(const std::string& architecture, const std::string& where) {
  for (const Family& family : families()) {
    if (family.gguf_architecture == architecture) return family;
  }
  fail("{}: general.architecture '{}' is no family this program knows; known: {}", where,
       printable(architecture), fmt::join(known_names(), ", "));
}

}  // namespace outliers::models
