// SmolLM 3: Llama with layers that have no rotary. Its smaller predecessors are saved as Llama.
#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/models/config_keys.h"
#include "outliers/models/families/table.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

namespace {

/// GGUF's readers take it for granted.
constexpr int64_t kInterval = 4;

void leave_out_rotaries(Config& config, int64_t interval) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    config.rotary_of_layer.push_back((layer + 1) % interval == 0 ? -1 : 0);
  }
}

}  // namespace

Family smollm3_family() {
  Family f;
  f.name = "smollm3";
  f.model_types = {"smollm3"};
  f.gguf_architectures = {"smollm3"};
  f.defaults = R"({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                   "rope_theta": 2000000.0, "num_key_value_heads": 4, "tie_word_embeddings": true,
                   "attention_bias": false, "mlp_bias": false, "use_sliding_window": false})";
  f.reads =
      rotary_keys_and({"num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "use_sliding_window",
                       "sliding_window", "layer_types", "no_rope_layers", "no_rope_layer_interval"});
  f.windows = WindowRule::no_rotary;
  f.read_hugging_face = [](const Fields& fields, Config& config) {
    if (!fields.has("no_rope_layers")) {
      const int64_t interval = fields.integer("no_rope_layer_interval", kInterval);
      require(interval >= 1, "{}: 'no_rope_layer_interval' should be positive", fields.where());
      leave_out_rotaries(config, interval);
      return;
    }
    // In spite of the name, 1 marks a layer that has one.
    for (double has_rotary : fields.numbers("no_rope_layers")) {
      config.rotary_of_layer.push_back(has_rotary != 0 ? 0 : -1);
    }
    require(config.rotary_of_layer.size() == static_cast<size_t>(config.layers),
            "{}: {} layers say in 'no_rope_layers' whether they have a rotary, of {}", fields.where(),
            config.rotary_of_layer.size(), config.layers);
    if (fields.stated("no_rope_layer_interval") == nullptr) return;
    Config by_interval;
    by_interval.layers = config.layers;
    leave_out_rotaries(by_interval, std::max<int64_t>(1, fields.integer("no_rope_layer_interval")));
    if (by_interval.rotary_of_layer != config.rotary_of_layer) {
      warn_of_precedence(fields.where(), "no_rope_layers", "no_rope_layer_interval");
    }
  };
  f.read_gguf = [](const Keys&, const io::Checkpoint&, Config& config) {
    leave_out_rotaries(config, kInterval);
  };
  f.weights = llama_weights(Transform::unpermute);
  return f;
}

}  // namespace outliers::models
