// The families as data: one row of traits each and one table of weight names. Adding a family means a row
// and a table in families.cpp, and a case in tests/oracle/models_tiny.py; code that computes reads Config.
#pragma once

#include <string>
#include <vector>

#include "outliers/models/config.h"

namespace outliers::models {

/// How a stored weight becomes ours. GGUF files of Llama keep the rows of q and k in the order of interleaved
/// rotary pairs; `unpermute` brings back the halves that Hugging Face (and we) rotate.
enum class Transform { none, unpermute };

/// One kind of tensor. * stands for the layer's number.
struct WeightRow {
  const char* ours;
  const char* hugging_face;  ///< after the checkpoint's prefix ("model.")
  const char* gguf;
  const char* shape;  ///< symbolic, in H, Hk, d, D, F, V: "[H*d, D]"
  Transform gguf_transform = Transform::none;
  bool Config::*needed = nullptr;      ///< only where this trait holds; nullptr = always
  bool Config::*not_needed = nullptr;  ///< not where this trait holds; a stored tensor is then ignored
};

/// Which layers have the sliding window when the checkpoint has no list of layer types.
enum class WindowRule {
  none,         ///< a window in the checkpoint is an error
  all,          ///< every layer
  upper,        ///< layers >= max_window_layers, where use_sliding_window is set
  all_but_nth,  ///< every sliding_window_pattern-th layer is global
};

/// Where biases come from.
enum class Biases {
  from_checkpoint,  ///< config.json's attention_bias: q, k, v and o; mlp_bias
  query_key_value,  ///< always on q, k and v, never elsewhere
};

struct Family {
  const char* name;
  std::vector<std::string> model_types;  ///< config.json's model_type
  const char* gguf_architecture;         ///< general.architecture
  /// What the family means by leaving a key out of config.json (JSON).
  const char* defaults;
  Config traits;  ///< the fields that do not vary within the family
  Biases biases = Biases::from_checkpoint;
  WindowRule windows = WindowRule::none;
  int64_t window_pattern = 0;    ///< all_but_nth's n where a GGUF does not say
  double local_rotary_base = 0;  ///< layers with a window have an unscaled rotary of this base; 0 = the same
  bool scaled_embeddings = false;  ///< embeddings are multiplied by sqrt(D)
  /// Layers of the one size whose GGUF must be scaled by sqrt(D / H) instead of sqrt(d); 0 = none. GGUF has
  /// no key for it.
  int64_t gguf_layers_scaled_by_width = 0;
  std::vector<std::string> prefixes = {"model.", ""};  ///< tried in order, by the embedding's name
  std::vector<std::string> ignored = {};  ///< beginnings of names that belong to other parts (vision)
  std::vector<WeightRow> weights;
};

const std::vector<Family>& families();
/// Throws for an unknown one, naming it, the file and the known ones.
const Family& family_of_model_type(const std::string& model_type, const std::string& where);
const Family& family_of_gguf(const std::string& architecture, const std::string& where);

}  // namespace outliers::models
