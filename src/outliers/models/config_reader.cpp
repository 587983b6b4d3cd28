#include "outliers/models/config_reader.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/warning.h"
#include "outliers/models/rotary.h"

namespace outliers::models {

int64_t widest_mlp(const Config& config) {
  int64_t widest = 0;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    widest = std::max(widest, is_routed(config, layer)
                                  ? std::max(config.experts.width, config.experts.shared_width)
                                  : config.mlp_width);
  }
  return widest;
}

void set_expert_storage(Config& config, const io::Checkpoint& checkpoint) {
  if (config.experts.count == 0) return;
  Storage& storage = config.storage;
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    const std::string_view name = info.name;
    const auto holds = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
    const bool fused = holds("experts.gate_up_proj");
    storage.fused_experts = storage.fused_experts || fused;
    storage.stacked_experts = storage.stacked_experts || fused || holds("_exps.");
  }
}

void set_layers(Config& config, const std::vector<bool>& sliding, int64_t window, const Rotary& global,
                const Rotary& local) {
  if (config.routed.empty()) config.routed.assign(sliding.size(), config.experts.count > 0);
  const bool rotary = config.positions == Positions::rotary;
  if (rotary) config.rotaries = {global, local};
  // A family's own reader may have said which layers have one at all.
  if (config.rotary_of_layer.empty()) config.rotary_of_layer.assign(sliding.size(), rotary ? 0 : -1);
  for (size_t layer = 0; layer < sliding.size(); ++layer) {
    config.windows.push_back(sliding[layer] ? window : 0);
    if (sliding[layer] && config.rotary_of_layer[layer] == 0) config.rotary_of_layer[layer] = 1;
  }
}

void check_positions(const Config& config, int64_t tokens, const std::string& what, const char* remedy,
                     Setting setting) {
  if (config.max_positions <= 0 || tokens <= config.max_positions) return;
  const std::string name = printable(config.name);
  bool stretched = false;
  for (size_t i = 0; i < config.rotaries.size(); ++i) {
    const bool used = std::find(config.rotary_of_layer.begin(), config.rotary_of_layer.end(),
                                static_cast<int>(i)) != config.rotary_of_layer.end();
    stretched = stretched || (used && stretches(config.rotaries[i]));
  }
  require(stretched, Cause{ErrorKind::argument, {setting}}, "{} {} tokens, but {} has {} positions; {}", what,
          tokens, name, config.max_positions, remedy);
  warn("{} {} tokens, but {} has {} positions; those beyond are computed by the scaling of its rotary", what,
       tokens, name, config.max_positions);
}

void check_config(const Config& config, const std::string& where) {
  const auto size = [&](const char* field, int64_t value, int64_t largest) {
    require(value >= 1 && value <= largest, "{}: the number of {} is {}, which is not between 1 and {}",
            where, field, value, largest);
  };
  constexpr int64_t kLargest = int64_t{1} << 24;
  size("layers", config.layers, 10000);
  size("channels (hidden size)", config.width, kLargest);
  size("heads", config.heads, kLargest);
  size("key/value heads", config.kv_heads, kLargest);
  size("channels of a head", config.head_width, kLargest);
  size("neurons (MLP width)", config.mlp_width, kLargest);
  if (const Vision& vision = config.vision; reads_images(config)) {
    size("rows of an image", vision.image_height, 1 << 16);
    size("columns of an image", vision.image_width, 1 << 16);
    size("rows of a patch", vision.patch_height, vision.image_height);
    size("columns of a patch", vision.patch_width, vision.image_width);
    require(vision.registers >= 0 && vision.registers <= 65536, "{}: the number of registers is {}", where,
            vision.registers);
  } else {
    size("tokens in the vocabulary", config.vocabulary, kLargest);
  }
  if (const Experts& experts = config.experts; experts.count > 0) {
    size("experts", experts.count, (int64_t{1} << 20) / config.layers);
    size("experts of a token", experts.used, experts.count);
    size("neurons of an expert", experts.width, kLargest);
    require(experts.shared_width >= 0 && experts.shared_width <= kLargest,
            "{}: the shared expert has {} neurons", where, experts.shared_width);
    require(config.gated_mlp && std::isfinite(config.mlp_clamp) && config.mlp_clamp >= 0,
            "{}: the clamp of the experts' products is {}", where, config.mlp_clamp);
  }
  size("positions", config.max_positions, int64_t{1} << 40);
  size("channels of the embedding", config.embedding_width, kLargest);
  require(config.heads % config.kv_heads == 0, "{}: {} heads cannot share {} key/value heads evenly", where,
          config.heads, config.kv_heads);
  require(config.norm_epsilon >= 0 && config.norm_epsilon < 1, "{}: the norm's epsilon is {}", where,
          config.norm_epsilon);
  require(std::isfinite(config.attention_scale) && config.attention_scale > 0,
          "{}: the scale of the attention scores is {}", where, config.attention_scale);
  require(std::isfinite(config.attention_softcap) && config.attention_softcap >= 0 &&
              std::isfinite(config.logit_softcap) && config.logit_softcap >= 0,
          "{}: a soft-cap is negative or not finite", where);
  require(std::isfinite(config.qkv_clip) && config.qkv_clip >= 0,
          "{}: the clip of queries, keys and values is {}", where, config.qkv_clip);
  require(config.rotary_of_layer.size() == config.windows.size(),
          "{}: {} layers say whether they have a rotary, of {}", where, config.rotary_of_layer.size(),
          config.windows.size());
  for (const Rotary& rotary : config.rotaries) {
    require(rotary.width >= 0 && rotary.width <= config.head_width && rotary.width % 2 == 0,
            "{}: {} rotary channels do not fit heads of {}", where, rotary.width, config.head_width);
    require(std::isfinite(rotary.base) && rotary.base > 0 && std::isfinite(rotary.factor) &&
                rotary.factor > 0 && std::isfinite(rotary.attention_factor) && rotary.attention_factor > 0,
            "{}: the rotary's base, factor and attention factor must be positive", where);
    for (const std::vector<double>* factors : {&rotary.factors, &rotary.long_factors}) {
      require(factors->empty() || static_cast<int64_t>(factors->size()) * 2 == rotary.width,
              "{}: {} rotary factors for {} frequencies", where, factors->size(), rotary.width / 2);
      for (double factor : *factors) {
        require(std::isfinite(factor) && factor > 0, "{}: a rotary factor is {}", where, factor);
      }
    }
  }
  for (const Rotary& rotary : config.rotaries) {
    if (rotary.width == 0) continue;
    require(rotary.scaling != "dynamic" || rotary.width > 2,
            "{}: dynamic scaling needs more than 2 rotary channels", where);
    for (int64_t tokens : {rotary.original_positions, 2 * rotary.original_positions}) {
      const at::Tensor frequencies = rotary_frequencies(rotary, tokens);
      require(at::isfinite(frequencies).all().item<bool>() && frequencies.gt(0).all().item<bool>(),
              "{}: the rotary's parameters give frequencies that are not positive numbers", where);
    }
  }
  for (int64_t window : config.windows) require(window >= 0, "{}: a sliding window of {}", where, window);
}

}  // namespace outliers::models
