#include "outliers/models/config_keys.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/warning.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

namespace {

using nlohmann::json;

/// Keys by which classes compute that no family here has, or that a class wrote and does not read any more.
constexpr std::string_view kForeign[] = {
    "attention_chunk_size",
    "attention_multiplier",
    "embedding_multiplier",
    "expansion_ratio",
    "ffn_config",
    "first_k_dense_replace",
    "kv_lora_rank",
    "learned_pos_emb",
    "lm_head_bias",
    "logit_scale",
    "logits_scaling",
    "n_routed_experts",
    "n_shared_experts",
    "no_bias",
    "norm_type",
    "q_lora_rank",
    "qk_norm",
    "residual_multiplier",
    "routed_scaling_factor",
    "scale_depth",
    "scale_emb",
    "use_qk_norm",
};
/// Names that older files have for keys, and that no class reads.
constexpr std::pair<const char*, const char*> kOldNames[] = {
    {"max_position_embeddings", "n_ctx"},
    {"num_key_value_heads", "n_head_kv"},
    {"partial_rotary_factor", "rope_pct"},
};
/// Values that say what holds anyway; of other keys that are false, 0 and what is empty.
constexpr const char* kNeutral = R"({
    "attention_multiplier": 1, "decoder_sparse_step": 1, "do_layer_norm_before": true, "embedding_multiplier": 1,
    "enable_bias": true, "expansion_ratio": 4, "layer_norm_elementwise_affine": true, "learned_pos_emb": true,
    "logits_scaling": 1, "no_bias": true, "norm_type": "low_precision_layernorm", "partial_rotary_factor": 1,
    "residual_multiplier": 1, "routed_scaling_factor": 1, "scale_attn_weights": true})";

bool contains(const std::vector<std::string_view>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

/// What only some classes read.
bool is_optional(std::string_view key) {
  static const std::set<std::string_view> all = [] {
    std::set<std::string_view> keys(std::begin(kForeign), std::end(kForeign));
    for (const Family& family : families()) keys.insert(family.reads.begin(), family.reads.end());
    return keys;
  }();
  return all.count(key) > 0;
}

/// By name, the key that it stands for in one family or another; names that are keys stand for themselves.
const std::map<std::string_view, std::string_view>& keys_of_names() {
  static const std::map<std::string_view, std::string_view> all = [] {
    std::map<std::string_view, std::string_view> keys;
    for (const Family& family : families()) {
      for (const auto& [key, names] : family.keys) {
        for (const char* name : names) keys.emplace(name, key);
        keys[key] = key;
      }
    }
    for (const auto& [key, name] : kOldNames) keys.emplace(name, key);
    return keys;
  }();
  return all;
}

bool same(const json& a, const json& b) {
  return a.is_number() && b.is_number() ? a.get<double>() == b.get<double>() : a == b;
}

bool is_number(const json& value, int64_t number) {
  return value.is_number() && value.get<double>() == static_cast<double>(number);
}

/// Whether a key that is not read says nothing else than what is computed.
bool is_neutral(const std::string& key, const json& value, const json& object, const Family& family,
                const Config& config) {
  static const json neutral = json::parse(kNeutral);
  if (value.is_null()) return true;
  if (const auto it = neutral.find(key); it != neutral.end()) return same(value, *it);
  if (key == "attention_bias" || key == "qkv_bias" || key == "use_qkv_bias")
    return value == config.attention_bias;
  if (key == "mlp_bias") return value == config.mlp_bias;
  if (value.empty() || value == false || value == "" || is_number(value, 0)) return true;
  if (key == "num_key_value_heads") return is_number(value, config.heads);
  if (key == "head_dim" || key == "query_pre_attn_scalar") return is_number(value, config.head_width);
  if (key == "original_max_position_embeddings") return is_number(value, config.max_positions);
  if (key == "layer_types") {
    return std::all_of(value.begin(), value.end(), [](const json& type) { return type == "full_attention"; });
  }
  const auto window = object.find("sliding_window"), used = object.find("use_sliding_window");
  const bool off = used != object.end() && *used == false;
  if (key == "sliding_window") return off;
  if (key == "max_window_layers" || key == "sliding_window_pattern") {
    // They choose among the layers which have a window.
    return off || (window != object.end() && window->is_null()) ||
           (family.window_pattern > 0 && is_number(value, family.window_pattern));
  }
  return false;
}

}  // namespace

std::vector<std::string_view> names_read(const Family& family, std::string_view key) {
  if (is_optional(key) && !contains(family.reads, key)) return {};
  for (const auto& [ours, names] : family.keys) {
    if (key == ours) return {names.begin(), names.end()};
  }
  return {key};
}

void warn_of_unread(const std::string& where, std::string_view family, const std::vector<std::string>& keys) {
  if (keys.empty()) return;
  warn("{}: {} ignored, since transformers' class of the family {} does not read {}", where,
       fmt::format("'{}' {}", fmt::join(keys, "', '"), keys.size() == 1 ? "is" : "are"), family,
       keys.size() == 1 ? "it" : "them");
}

void warn_of_precedence(const std::string& where, std::string_view first, std::string_view second) {
  warn("{}: '{}' is ignored: '{}' goes before it, and says otherwise", where, second, first);
}

void warn_of_keys(const json& object, const Fields& fields, const Family& family, const Config& config) {
  std::vector<std::string> unread;
  for (const auto& [name, value] : object.items()) {
    const auto place = keys_of_names().find(name);
    const bool spelling = place != keys_of_names().end();
    const std::string key(spelling ? place->second : name);
    if (!spelling && !is_optional(key)) continue;
    const std::vector<std::string_view> names = names_read(family, key);
    const std::string chosen = fields.name_of(key.c_str());
    if (name == chosen && contains(names, name)) continue;
    const json* used = fields.find(key.c_str());
    if (used != nullptr && same(*used, value)) continue;
    if (fields.stated(key.c_str()) != nullptr) {
      if (!value.is_null()) warn_of_precedence(fields.where(), chosen, name);
    } else if (!contains(names, name) && !is_neutral(key, value, object, family, config)) {
      unread.push_back(name);
    }
  }
  warn_of_unread(fields.where(), family.name, unread);
}

void warn_of_outer_keys(const json& outer, const Fields& fields, const char* inner) {
  for (const auto& [name, value] : outer.items()) {
    const auto place = keys_of_names().find(name);
    const bool spelling = place != keys_of_names().end();
    if (value.is_null() || (!spelling && !is_optional(name) && name != "vocab_size")) continue;
    const std::string key(spelling ? place->second : name);
    const json* used = fields.find(key.c_str());
    if (used == nullptr || same(*used, value)) continue;
    warn_of_precedence(fields.where(), fmt::format("{}: {}", inner, fields.name_of(key.c_str())), name);
  }
}

}  // namespace outliers::models
