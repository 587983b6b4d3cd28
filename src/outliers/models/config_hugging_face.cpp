// config.json in the styles of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters, nested by
// layer type where a family has two rotaries).
#include <cmath>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/hugging_face_fields.h"
#include "outliers/models/rotary.h"

namespace outliers::models {

namespace {

using nlohmann::json;

Activation activation_of(const Fields& fields) {
  const char* key = fields.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  const std::string name = fields.string(key);
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name == "relu") return Activation::relu;
  if (name == "quick_gelu") return Activation::quick_gelu;
  fail(
      "{}: the activation function '{}' is not supported; known: silu, gelu, gelu_pytorch_tanh, quick_gelu, "
      "relu",
      fields.where(), printable(name));
}

/// `scaling` is rope_scaling (version 4) or a rope_parameters (version 5); `top` is the whole config.
Rotary read_rotary(const Fields& top, const Fields& scaling, double base, int64_t head_width) {
  Rotary rotary;
  rotary.base = scaling.number("rope_theta", base);
  const double part = scaling.number("partial_rotary_factor", top.number("partial_rotary_factor", 1.0));
  require(part >= 0 && part <= 1, "{}: 'partial_rotary_factor' should be between 0 and 1", scaling.where());
  rotary.width = static_cast<int64_t>(static_cast<double>(head_width) * part);

  std::string type = scaling.string("rope_type", scaling.string("type", "default"));
  // Early names of what became LongRoPE.
  if (type == "su" || (type == "yarn" && scaling.has("long_factor"))) type = "longrope";
  const int64_t positions = top.integer("max_position_embeddings");
  rotary.original_positions = top.integer("original_max_position_embeddings",
                                          scaling.integer("original_max_position_embeddings", positions));
  require(rotary.original_positions >= 1, "{}: 'original_max_position_embeddings' should be positive",
          scaling.where());
  const double stretched = static_cast<double>(positions) / static_cast<double>(rotary.original_positions);
  if (type == "default") return rotary;
  rotary.scaling = type;
  if (rotary.scaling == "linear") {
    rotary.factor = scaling.number("factor");
  } else if (rotary.scaling == "dynamic") {
    rotary.factor = scaling.number("factor");
    rotary.original_positions = positions;
  } else if (rotary.scaling == "llama3") {
    rotary.factor = scaling.number("factor");
    rotary.low_frequency_factor = scaling.number("low_freq_factor");
    rotary.high_frequency_factor = scaling.number("high_freq_factor");
  } else if (rotary.scaling == "yarn") {
    rotary.factor = scaling.number("factor", stretched);
    rotary.beta_fast = scaling.number("beta_fast", 32.0);
    rotary.beta_slow = scaling.number("beta_slow", 1.0);
    rotary.truncate = scaling.boolean("truncate", true);
    const double mscale = scaling.number("mscale", 0.0), all = scaling.number("mscale_all_dim", 0.0);
    const double derived = mscale != 0 && all != 0 ? yarn_attention_factor(rotary.factor, mscale) /
                                                         yarn_attention_factor(rotary.factor, all)
                                                   : yarn_attention_factor(rotary.factor);
    rotary.attention_factor = scaling.number("attention_factor", derived);
  } else if (rotary.scaling == "longrope") {
    rotary.factor = scaling.number("factor", stretched);
    rotary.factors = scaling.numbers("short_factor");
    rotary.long_factors = scaling.numbers("long_factor");
    rotary.attention_factor = scaling.number(
        "attention_factor", longrope_attention_factor(rotary.factor, rotary.original_positions));
  } else {
    fail("{}: rotary scaling '{}' is not supported; known: linear, dynamic, llama3, yarn, longrope",
         scaling.where(), printable(type));
  }
  return rotary;
}

/// Experts as Mixtral and what came after it name them, and the layers that have them.
void read_experts(const Fields& fields, Config& config) {
  Experts& experts = config.experts;
  experts.count = fields.integer(fields.has("num_local_experts") ? "num_local_experts" : "num_experts");
  if (experts.count == 0) return;
  experts.used = fields.integer("num_experts_per_tok");
  experts.width = fields.integer("moe_intermediate_size", config.mlp_width);
  experts.shared_width = fields.integer("shared_expert_intermediate_size", 0);
  experts.normalised = fields.boolean("norm_topk_prob", experts.normalised);
  const int64_t step = fields.integer("decoder_sparse_step", 1);
  require(step >= 1, "{}: 'decoder_sparse_step' should be positive", fields.where());
  for (int64_t layer = 0; layer < config.layers; ++layer) config.routed.push_back((layer + 1) % step == 0);
  if (!fields.has("mlp_only_layers")) return;
  for (const double dense : fields.numbers("mlp_only_layers")) {
    if (dense >= 0 && dense < static_cast<double>(config.layers)) {
      config.routed[static_cast<size_t>(dense)] = false;
    }
  }
}

/// Sizes of images and patches, which are numbers or [height, width].
void read_vision(const Fields& fields, Config& config) {
  const auto sizes = [&](const char* key, int64_t& height, int64_t& width) {
    if (!fields.find(key)->is_array()) {
      height = width = fields.integer(key);
      return;
    }
    const std::vector<double> both = fields.numbers(key);
    require(both.size() == 2 && both[0] >= 0 && both[1] >= 0 && both[0] < 1e9 && both[1] < 1e9,
            "{}: '{}' should be a number or [height, width]", fields.where(), key);
    height = static_cast<int64_t>(both[0]);
    width = static_cast<int64_t>(both[1]);
  };
  Vision& vision = config.vision;
  vision.channels = fields.integer("num_channels");
  sizes("image_size", vision.image_height, vision.image_width);
  sizes("patch_size", vision.patch_height, vision.patch_width);
  require(vision.patch_height >= 1 && vision.patch_width >= 1, "{}: 'patch_size' should be positive",
          fields.where());
  config.max_positions =
      1 + vision.image_height / vision.patch_height * (vision.image_width / vision.patch_width);
}

/// What describes the model within a multimodal checkpoint's config.json; nullptr where the whole does.
const json* inner_config(const Family& family, const Fields& outer, const json& defaults, json& merged) {
  const char* key = family.vision ? "vision_config" : "text_config";
  const json* inner = outer.find(key);
  require(inner == nullptr || inner->is_object(), "{}: '{}' should be an object", outer.where(), key);
  // Early CLIP files have this beside it, which goes first, and with it what it leaves out.
  const json* first = family.vision ? outer.find("vision_config_dict") : nullptr;
  if (first == nullptr || !first->is_object()) return inner;
  if (inner != nullptr) merged = *inner;
  merged.update(defaults);
  merged.update(*first);
  return &merged;
}

/// Sets the rotary of layers without (global) and with (local) a window.
void read_rotaries(const Family& family, const Fields& fields, int64_t head_width, Rotary& global,
                   Rotary& local) {
  const json nothing = json::object();
  const Fields plain(nothing, nullptr, fields.where());
  const double base = fields.number("rope_theta", 10000.0);
  if (fields.has("rope_parameters")) {
    const Fields parameters = fields.object("rope_parameters");
    if (parameters.has("full_attention") || parameters.has("sliding_attention")) {
      const double local_base = fields.number("rope_local_base_freq", base);
      const bool has_global = parameters.has("full_attention"),
                 has_local = parameters.has("sliding_attention");
      global =
          read_rotary(fields, has_global ? parameters.object("full_attention") : plain, base, head_width);
      local = read_rotary(fields, has_local ? parameters.object("sliding_attention") : plain, local_base,
                          head_width);
      return;
    }
    require(family.local_rotary_base == 0,
            "{}: 'rope_parameters' should have an entry for full_attention and one for sliding_attention",
            fields.where());
    global = local = read_rotary(fields, parameters, base, head_width);
    return;
  }
  global = read_rotary(fields, fields.has("rope_scaling") ? fields.object("rope_scaling") : plain, base,
                       head_width);
  local = family.local_rotary_base == 0
              ? global
              : read_rotary(fields, plain, fields.number("rope_local_base_freq"), head_width);
}

std::vector<bool> sliding_layers(const Family& family, const Fields& fields, int64_t layers,
                                 int64_t& window) {
  window = fields.boolean("use_sliding_window", true) ? fields.integer("sliding_window", 0) : 0;
  std::vector<bool> sliding(static_cast<size_t>(layers), false);
  if (const json* types = fields.find("layer_types")) {
    require(types->is_array() && types->size() == sliding.size(),
            "{}: 'layer_types' should name the type of each of the {} layers", fields.where(), layers);
    for (size_t layer = 0; layer < sliding.size(); ++layer) {
      const std::string type = (*types)[layer].is_string() ? (*types)[layer].get<std::string>() : "";
      if (type != "full_attention" && type != "sliding_attention") {
        fail(
            "{}: layer {} has the type '{}', which is not supported; known: full_attention, "
            "sliding_attention",
            fields.where(), layer, printable(type));
      }
      sliding[layer] = type == "sliding_attention";
    }
  } else if (window > 0) {
    const int64_t pattern = fields.integer("sliding_window_pattern", family.window_pattern);
    const int64_t first = fields.integer("max_window_layers", 0);
    require(family.windows != WindowRule::all_but_nth || pattern >= 1,
            "{}: 'sliding_window_pattern' should be positive", fields.where());
    for (int64_t layer = 0; layer < layers; ++layer) {
      bool slides = false;
      switch (family.windows) {
        case WindowRule::none:
          fail("{}: 'sliding_window' is not supported for this family", fields.where());
        case WindowRule::all:
          slides = true;
          break;
        case WindowRule::upper:
          slides = layer >= first;
          break;
        case WindowRule::all_but_nth:
          slides = (layer + 1) % pattern != 0;
          break;
      }
      sliding[static_cast<size_t>(layer)] = slides;
    }
  }
  for (bool slides : sliding) {
    require(!slides || window > 0, "{}: layers have sliding attention but 'sliding_window' is missing",
            fields.where());
  }
  return sliding;
}

}  // namespace

Described describe_hugging_face(std::string_view text, const std::string& where) {
  const json root = parse_json<json>(text, where);
  require(root.is_object(), "{}: this is not a JSON object", where);
  const Fields outer(root, nullptr, where);
  const std::string model_type = outer.string("model_type");
  const Family& family = family_of_model_type(model_type, where);
  const json defaults = json::parse(family.defaults);
  json merged = json::object();
  const json* inner = inner_config(family, outer, defaults, merged);
  const Fields fields(inner != nullptr ? *inner : root, &defaults, where, &family.keys);
  fields.require_only(family.only);

  Config config = family.traits;
  config.family = family.name;
  if (const json* name = outer.find("_name_or_path"); name != nullptr && name->is_string())
    config.name = name->get<std::string>();
  config.layers = fields.integer("num_hidden_layers");
  config.width = config.embedding_width = fields.integer("hidden_size");
  config.heads = fields.integer("num_attention_heads");
  require(config.layers >= 1 && config.layers <= 10000 && config.heads >= 1 && config.heads <= 65536,
          "{}: 'num_hidden_layers' and 'num_attention_heads' should be positive", where);
  config.kv_heads = fields.integer("num_key_value_heads", config.heads);
  config.head_width = fields.integer("head_dim", config.width / config.heads);
  config.mlp_width = family.mlp_factor > 0
                         ? fields.integer("intermediate_size", family.mlp_factor * config.width)
                         : fields.integer("intermediate_size");
  if (family.vision) {
    read_vision(fields, config);
  } else {
    config.vocabulary = fields.integer("vocab_size");
    config.max_positions = fields.integer("max_position_embeddings");
  }
  config.norm_epsilon = fields.number("rms_norm_eps");
  config.activation = activation_of(fields);
  config.tied_embeddings =
      inner != nullptr && !inner->contains("tie_word_embeddings") && outer.has("tie_word_embeddings")
          ? outer.boolean("tie_word_embeddings", true)
          : fields.boolean("tie_word_embeddings", false);
  if (family.biases == Biases::from_checkpoint) {
    config.attention_bias = config.output_bias = fields.boolean("attention_bias", false);
    config.mlp_bias = fields.boolean("mlp_bias", false);
  }
  if (family.scaled_embeddings) config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  config.attention_scale =
      1.0 / std::sqrt(fields.number("query_pre_attn_scalar", static_cast<double>(config.head_width)));
  config.attention_softcap = fields.number("attn_logit_softcapping", 0.0);
  config.logit_softcap = fields.number("final_logit_softcapping", 0.0);
  require(!fields.boolean("use_bidirectional_attention", false),
          "{}: 'use_bidirectional_attention' is not supported", where);
  if (family.mixture) read_experts(fields, config);
  if (family.read_hugging_face != nullptr) family.read_hugging_face(fields, config);

  int64_t window = 0;
  const std::vector<bool> sliding = sliding_layers(family, fields, config.layers, window);
  Rotary global, local;
  if (config.positions == Positions::rotary) {
    read_rotaries(family, fields, config.head_width, global, local);
  }
  set_layers(config, sliding, window, global, local);
  check_config(config, where);
  const json* quantization = outer.find("quantization_config");
  if (quantization == nullptr) quantization = fields.find("quantization_config");
  return {&family, config, quantization == nullptr ? "" : quantization->dump()};
}

}  // namespace outliers::models
