// GGUF's metadata, by the keys of ggml's docs/gguf.md. What GGUF has no key for (tied embeddings, biases) is
// read off the tensors, as its own readers do.
#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/io/gguf.h"
#include "outliers/models/config_keys.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/gguf_keys.h"
#include "outliers/models/rotary.h"

namespace outliers::models {

namespace {

std::vector<double> read_factors(const io::Checkpoint& checkpoint, const char* name) {
  const io::TensorInfo* info = checkpoint.find(name);
  if (info == nullptr) return {};
  require(info->shape.size() == 1 && info->shape[0] <= 65536, "{}: '{}' should be a vector",
          printable(checkpoint.path().string()), name);
  const at::Tensor values = checkpoint.load(name, at::kDouble);
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

Rotary read_rotary(const io::Checkpoint& checkpoint, const Keys& keys, const std::string& where,
                   const std::optional<std::string>& type, const Config& config) {
  Rotary rotary;
  rotary.base = keys.number("rope.freq_base", 10000.0);
  rotary.width = keys.maybe_integer("rope.dimension_count").value_or(config.head_width);
  rotary.original_positions =
      keys.maybe_integer("rope.scaling.original_context_length").value_or(config.max_positions);
  require(rotary.original_positions >= 1, "{}: 'rope.scaling.original_context_length' should be positive",
          where);
  rotary.factors = read_factors(checkpoint, "rope_factors_short.weight");
  rotary.long_factors = read_factors(checkpoint, "rope_factors_long.weight");
  require(rotary.factors.empty() == rotary.long_factors.empty(),
          "{}: rope_factors_short.weight and rope_factors_long.weight should both be there", where);
  if (!rotary.factors.empty()) {
    rotary.scaling = "longrope";
    rotary.factor =
        static_cast<double>(config.max_positions) / static_cast<double>(rotary.original_positions);
    rotary.attention_factor = keys.number(
        "rope.scaling.attn_factor", longrope_attention_factor(rotary.factor, rotary.original_positions));
    return rotary;
  }
  rotary.factors = read_factors(checkpoint, "rope_freqs.weight");
  const std::string scaling = type.value_or(keys.has("rope.scale_linear") ? "linear" : "none");
  const double factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0));
  // Writers state a type of "none" or a factor of 1 or 0 for rotaries that are not scaled.
  if (scaling == "none" || (scaling == "linear" && (factor == 1 || factor == 0))) return rotary;
  require(rotary.factors.empty(), kUnsupported,
          "{}: rotary scaling '{}' together with rope_freqs.weight is not supported", where,
          printable(scaling));
  rotary.scaling = scaling;
  rotary.factor = factor;
  if (scaling == "linear") return rotary;
  if (scaling == "yarn") {
    rotary.beta_fast = keys.number("rope.scaling.yarn_beta_fast", 32.0);
    rotary.beta_slow = keys.number("rope.scaling.yarn_beta_slow", 1.0);
    rotary.attention_factor = keys.number("rope.scaling.attn_factor", 1.0) *
                              keys.number("rope.scaling.yarn_attn_factor", 1.0) *
                              yarn_attention_factor(rotary.factor);
    for (const char* key : {"rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_ext_factor"}) {
      require(!keys.has(key), kUnsupported, "{}: '{}' is not supported", where, keys.name(key));
    }
  } else {
    fail(Cause{ErrorKind::unsupported}, "{}: rotary scaling '{}' is not supported; known: linear, yarn",
         where, printable(scaling));
  }
  return rotary;
}

void read_experts(const io::Checkpoint& checkpoint, const Keys& keys, Config& config) {
  Experts& experts = config.experts;
  experts.count = keys.integer("expert_count");
  experts.used = keys.integer("expert_used_count");
  // GGUF's LLAMA_EXPERT_GATING_FUNC: 1 softmax of all, 3 of the chosen.
  const int64_t gating = keys.maybe_integer("expert_gating_func").value_or(1);
  require(gating == 1 || gating == 3, kUnsupported,
          "{}: '{}' of {} is not supported; known: 1 and 3 (softmax)", keys.where(),
          keys.name("expert_gating_func"), gating);
  const double scale = keys.number("expert_weights_scale", 0.0);
  require(scale == 0 || scale == 1, kUnsupported, "{}: '{}' of {} is not supported", keys.where(),
          keys.name("expert_weights_scale"), scale);
  experts.normalised = gating == 3 || keys.boolean("expert_weights_norm", experts.normalised);
  experts.width = keys.maybe_integer("expert_feed_forward_length").value_or(0);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const auto find = [&](const char* module) {
      return checkpoint.find(fmt::format("blk.{}.{}.weight", layer, module));
    };
    config.routed.push_back(find("ffn_gate_inp") != nullptr);
    const io::TensorInfo *up = find("ffn_up_exps"), *shared = find("ffn_up_shexp");
    // Early files lack the keys.
    if (experts.width == 0 && up != nullptr && up->shape.size() == 3) experts.width = up->shape[1];
    if (shared != nullptr && shared->shape.size() == 2) experts.shared_width = shared->shape[0];
  }
  if (experts.width == 0) experts.width = config.mlp_width;
  config.storage.fused_experts = config.storage.mixed_gate_up = false;
}

std::vector<bool> sliding_layers(const io::GgufMetadata& metadata, const Family& family, const Keys& keys,
                                 const std::string& where, int64_t layers, int64_t window) {
  std::vector<bool> sliding(static_cast<size_t>(layers), false);
  if (window == 0) return sliding;
  const std::string pattern_key = keys.name("attention.sliding_window_pattern");
  // Either one flag a layer, or n: every n-th layer is global.
  if (metadata.count(pattern_key) > 1) {
    const std::vector<bool> flags = *metadata.booleans(pattern_key);
    require(flags.size() >= sliding.size(), "{}: '{}' has {} entries for {} layers", where, pattern_key,
            flags.size(), layers);
    for (size_t layer = 0; layer < sliding.size(); ++layer) sliding[layer] = flags[layer];
    return sliding;
  }
  const WindowRule rule = family.gguf_windows.value_or(family.windows);
  require(rule == WindowRule::all || rule == WindowRule::all_but_nth,
          "{}: '{}' does not say which layers it is for", where, keys.name("attention.sliding_window"));
  const int64_t pattern = metadata.integer(pattern_key).value_or(family.window_pattern);
  require(rule == WindowRule::all || pattern >= 1, "{}: '{}' should be positive", where, pattern_key);
  for (int64_t layer = 0; layer < layers; ++layer) {
    sliding[static_cast<size_t>(layer)] = rule == WindowRule::all || (layer + 1) % pattern != 0;
  }
  return sliding;
}

}  // namespace

Described describe_gguf(const io::Checkpoint& checkpoint) {
  const io::GgufMetadata& metadata = *checkpoint.metadata();
  const std::string where = printable(checkpoint.path().string());
  const std::string architecture = metadata.string("general.architecture").value_or("");
  // By the name of the metadata that say so: llama.cpp keeps all towers of images under one architecture.
  require(!metadata.has("clip.has_vision_encoder") && !metadata.has("clip.projector_type"),
          "{}: this is llama.cpp's image tower of a multimodal model (mmproj), which is not read; give the "
          "Hugging "
          "Face folder of the model of images",
          where);
  const Keys keys(metadata, architecture, where);
  const bool mixture = keys.maybe_integer("expert_count").value_or(0) > 0;
  const Family& family = family_of_gguf(architecture, mixture, where);
  require(!mixture || family.mixture, kUnsupported,
          "{}: experts in a model of the architecture '{}' are not supported", where,
          printable(architecture));

  Config config = family.traits;
  config.family = family.name;
  config.name = metadata.string("general.name").value_or("");
  config.storage.norm_less_one = false;  // GGUF's writers add the one
  config.layers = keys.integer("block_count");
  config.width = config.embedding_width = keys.integer("embedding_length");
  config.heads = keys.integer("attention.head_count");
  require(config.layers >= 1 && config.layers <= 10000 && config.heads >= 1 && config.heads <= 65536,
          "{}: '{}' and '{}' should be positive", where, keys.name("block_count"),
          keys.name("attention.head_count"));
  config.kv_heads = keys.maybe_integer("attention.head_count_kv").value_or(config.heads);
  config.head_width = keys.maybe_integer("attention.key_length").value_or(config.width / config.heads);
  const int64_t value_width = keys.maybe_integer("attention.value_length").value_or(config.head_width);
  require(value_width == config.head_width, kUnsupported,
          "{}: values of {} channels with keys of {} are not supported", where, value_width,
          config.head_width);
  config.mlp_width = keys.integer("feed_forward_length");
  config.max_positions = keys.integer("context_length");
  config.norm_epsilon = keys.number(
      config.norm == NormKind::rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
      config.norm_epsilon);
  const io::TensorInfo* embedding = checkpoint.find("token_embd.weight");
  config.vocabulary = embedding != nullptr && !embedding->shape.empty()
                          ? embedding->shape[0]
                          : static_cast<int64_t>(metadata.count("tokenizer.ggml.tokens"));
  config.tied_embeddings = checkpoint.find("output.weight") == nullptr;
  const auto has = [&](const char* name) { return checkpoint.find(name) != nullptr; };
  config.storage.fused_qkv = has("blk.0.attn_qkv.weight");
  if (family.biases == Biases::from_checkpoint) {
    config.attention_bias = has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias");
    config.output_bias = has("blk.0.attn_output.bias");
    config.mlp_bias = has("blk.0.ffn_up.bias");
  }
  if (mixture) read_experts(checkpoint, keys, config);
  if (family.scaled_embeddings) config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  const bool by_width = config.layers == family.gguf_layers_scaled_by_width;
  config.attention_scale = keys.number(
      "attention.scale",
      1.0 / std::sqrt(static_cast<double>(by_width ? config.width / config.heads : config.head_width)));
  std::vector<std::string> unread;
  for (const auto& [key, value] : {std::pair{"attn_logit_softcapping", &config.attention_softcap},
                                   std::pair{"final_logit_softcapping", &config.logit_softcap}}) {
    const double stated = keys.number(key, 0.0);
    if (!names_read(family, key).empty()) {
      *value = stated;
    } else if (stated != 0) {
      unread.push_back(keys.name(key));
    }
  }
  warn_of_unread(where, family.name, unread);

  if (family.read_gguf != nullptr) family.read_gguf(keys, checkpoint, config);

  const int64_t window = keys.maybe_integer("attention.sliding_window").value_or(family.gguf_window);
  Rotary global;
  if (config.positions == Positions::rotary) {
    global = read_rotary(checkpoint, keys, where, metadata.string(keys.name("rope.scaling.type")), config);
    global.truncate = family.gguf_yarn_truncates;
  }
  Rotary local = global;
  if (family.local_rotary_base > 0) {
    local = Rotary();
    local.base = keys.number("rope.freq_base_swa", family.local_rotary_base);
    local.width = global.width;
  }
  set_layers(config, sliding_layers(metadata, family, keys, where, config.layers, window), window, global,
             local);
  check_config(config, where);
  return {&family, config};
}

}  // namespace outliers::models
