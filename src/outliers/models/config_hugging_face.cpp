// config.json as transformers 5.23 reads it; what it says of rotaries is read in config_rotary.cpp.
#include <algorithm>
#include <cmath>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/models/config_keys.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/config_rotary.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

namespace {

using nlohmann::json;

Activation activation_of(const Fields& fields) {
  const std::string name = fields.string("hidden_act");
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name == "relu") return Activation::relu;
  if (name == "quick_gelu") return Activation::quick_gelu;
  fail(kUnsupported,
       "{}: the activation function '{}' is not supported; known: silu, gelu, gelu_pytorch_tanh, quick_gelu, "
       "relu",
       fields.where(), printable(name));
}

/// Experts as Mixtral and what came after it name them, and the layers that have them.
void read_experts(const Fields& fields, Config& config) {
  Experts& experts = config.experts;
  experts.count = fields.integer("num_experts");
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
    if (!fields.value(key, "a number or [height, width]").is_array()) {
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

/// Reads into `merged` what describes the model within the config.json of one that holds it, under `key`.
void inner_config(const Family& family, const Fields& outer, const char* key, const json& defaults,
                  json& merged) {
  const json* inner = outer.find(key);
  require(inner == nullptr || inner->is_object(), "{}: '{}' should be an object", outer.where(), key);
  if (inner != nullptr) merged = *inner;
  // Early CLIP files have this beside it, which goes first, and with it what it leaves out.
  constexpr const char* kFirst = "vision_config_dict";
  const json* first = family.vision ? outer.find(kFirst) : nullptr;
  if (first == nullptr || !first->is_object()) return;
  json complete = defaults;
  for (const auto& [name, names] : family.keys) {
    // By the name that the file has.
    if (!names.empty() && complete.contains(name)) {
      complete[names.front()] = complete[name];
      complete.erase(name);
    }
  }
  complete.update(*first);
  for (const auto& [name, value] : complete.items()) {
    if (merged.contains(name) && merged[name] != value) {
      warn_of_precedence(outer.where(), kFirst, fmt::format("{}: {}", key, name));
    }
  }
  merged.update(complete);
}

/// Whether the embedding gives the logits, by config.json; the one around the model's own goes first.
bool read_tied(const Fields& fields, const Fields* outer, const char* inner) {
  constexpr const char* kTied = "tie_word_embeddings";
  if (outer == nullptr) return fields.truth(kTied, false);
  const json* usual = fields.fallback(kTied);
  const bool tied = outer->truth(kTied, usual != nullptr && usual->get<bool>());
  if (fields.stated(kTied) != nullptr && fields.boolean(kTied, tied) != tied) {
    warn_of_precedence(fields.where(), kTied, fmt::format("{}: {}", inner, kTied));
  }
  return tied;
}

/// Whether the layer has a window where layer_types does not say.
bool slides_by_rule(const Family& family, const Fields& fields, const Config& config, int64_t layer) {
  const int64_t pattern = fields.integer("sliding_window_pattern", family.window_pattern);
  const int64_t first = fields.integer("max_window_layers", 0);
  require(family.windows != WindowRule::all_but_nth || pattern >= 1,
          "{}: 'sliding_window_pattern' should be positive", fields.where());
  switch (family.windows) {
    case WindowRule::none:
      break;
    case WindowRule::all:
      return true;
    case WindowRule::upper:
      return layer >= first;
    case WindowRule::all_but_nth:
      return (layer + 1) % pattern != 0;
    case WindowRule::lower_even:
      return layer % 2 == 0 && layer < first;
    case WindowRule::no_rotary:
      return config.rotary_of_layer.at(static_cast<size_t>(layer)) < 0;
  }
  return false;
}

std::vector<bool> sliding_layers(const Family& family, const Fields& fields, const Config& config,
                                 int64_t& window) {
  const int64_t layers = config.layers;
  const json* types = fields.find("layer_types");
  window = fields.integer("sliding_window", 0);
  // A list of layers goes before the switch where that only chooses layers.
  const bool chooses = family.windows == WindowRule::no_rotary && types != nullptr;
  if (!chooses && !fields.boolean("use_sliding_window", true)) window = 0;
  std::vector<bool> sliding(static_cast<size_t>(layers), false);
  for (int64_t layer = 0; window > 0 && layer < layers; ++layer) {
    sliding[static_cast<size_t>(layer)] = slides_by_rule(family, fields, config, layer);
  }
  if (types == nullptr) return sliding;
  const std::vector<bool> by_rule = sliding;
  require(types->is_array() && types->size() == sliding.size(),
          "{}: 'layer_types' should name the type of each of the {} layers", fields.where(), layers);
  for (size_t layer = 0; layer < sliding.size(); ++layer) {
    const std::string type = (*types)[layer].is_string() ? (*types)[layer].get<std::string>() : "";
    // "attention" is its earlier name.
    if (type != "full_attention" && type != "attention" && type != "sliding_attention") {
      fail(kUnsupported,
           "{}: layer {} has the type '{}', which is not supported; known: full_attention, "
           "sliding_attention",
           fields.where(), layer, printable(type));
    }
    sliding[layer] = type == "sliding_attention";
    require(!sliding[layer] || window > 0,
            "{}: layers have sliding attention but 'sliding_window' is missing", fields.where());
  }
  if (chooses) {
    const bool any = std::find(sliding.begin(), sliding.end(), true) != sliding.end();
    if (any && fields.stated("use_sliding_window") != nullptr &&
        !fields.boolean("use_sliding_window", true)) {
      warn_of_precedence(fields.where(), "layer_types", "use_sliding_window");
    }
  } else if (window > 0 && sliding != by_rule) {
    for (const char* key : {"sliding_window_pattern", "max_window_layers"}) {
      if (fields.stated(key) != nullptr) warn_of_precedence(fields.where(), "layer_types", key);
    }
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
  const char* inner = nullptr;
  json merged = json::object();
  if (family.wrapper != nullptr && model_type == family.wrapper) {
    inner = family.vision ? "vision_config" : "text_config";
    inner_config(family, outer, inner, defaults, merged);
  }
  const json& own = inner != nullptr ? merged : root;
  const Fields fields(own, &defaults, where, &family);
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
  if (!family.vision) config.tied_embeddings = read_tied(fields, inner != nullptr ? &outer : nullptr, inner);
  if (family.biases == Biases::from_checkpoint) {
    config.attention_bias = config.output_bias = fields.boolean("attention_bias", false);
    config.mlp_bias = fields.boolean("mlp_bias", false);
  }
  if (family.scaled_embeddings) config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  config.attention_scale =
      1.0 / std::sqrt(fields.number("query_pre_attn_scalar", static_cast<double>(config.head_width)));
  config.attention_softcap = fields.number("attn_logit_softcapping", 0.0);
  config.logit_softcap = fields.number("final_logit_softcapping", 0.0);
  require(!fields.boolean("use_bidirectional_attention", false), kUnsupported,
          "{}: 'use_bidirectional_attention' is not supported", where);
  if (family.mixture) read_experts(fields, config);
  if (family.read_hugging_face != nullptr) family.read_hugging_face(fields, config);

  int64_t window = 0;
  const std::vector<bool> sliding = sliding_layers(family, fields, config, window);
  Rotary global, local;
  if (config.positions == Positions::rotary) {
    read_rotaries(family, fields, config.head_width, global, local);
  }
  set_layers(config, sliding, window, global, local);
  check_config(config, where);
  warn_of_keys(own, fields, family, config);
  if (inner != nullptr) warn_of_outer_keys(root, fields, inner);
  const json* quantization = outer.find("quantization_config");
  if (quantization == nullptr) quantization = fields.find("quantization_config");
  return {&family, config, quantization == nullptr ? "" : quantization->dump()};
}

}  // namespace outliers::models
