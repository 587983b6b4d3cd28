// The families as data: one row of traits each and one table of weight names, in families/NAME.cpp. Adding a
// family means such a file, its name in families.cpp's list, and a case in tests/oracle/models_tiny.py
// (docs/add-a-family.md); code that computes reads Config.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "outliers/models/config.h"

namespace outliers::io {
class Checkpoint;
}

namespace outliers::models {

class Fields;
class Keys;

/// How a stored weight becomes ours. Biases are treated like the rows of their weight.
enum class Transform {
  none,
  unpermute,    ///< rows of a head in the order of interleaved rotary pairs -> the halves that we rotate
  transpose,    ///< [in, out] -> [out, in], a view
  ungroup_qkv,  ///< rows by key head (its queries, its key, its value) -> all queries, all keys, all values
  flatten,      ///< kernel of a convolution over patches [D, C, ph, pw] -> [D, C*ph*pw], a view
};

/// Which layers a module is of, where the MLP of some or all is of experts.
enum class Layers { all, dense, routed };

using Condition = bool (*)(const Config&);
/// The condition that a trait, or a way of storing, holds, or does not.
template <auto member>
bool has(const Config& config) {
  if constexpr (std::is_same_v<decltype(member), bool Storage::*>) {
    return config.storage.*member;
  } else {
    return static_cast<bool>(config.*member);
  }
}
template <auto member>
bool lacks(const Config& config) {
  return !has<member>(config);
}

/// One module with weights. In names * stands for the layer's number, and # for the index of a part: the
/// module is then stored as that many tensors, which are the rows of ours. Tensors are NAME.weight and
/// NAME.bias; where a name ends in $, NAME and NAME_bias.
struct WeightRow {
  const char* ours;
  const char* hugging_face;  ///< after the checkpoint's prefix ("model."); nullptr: this format lacks it
  const char* gguf;
  const char* shape;  ///< of our weight, symbolic (models/weights.h): "[H*d, D]"; of the bias: less the last
  Condition bias = nullptr;  ///< whether there is a bias; nullptr = never
  Condition when = nullptr;  ///< whether the model has the module; nullptr = always
  Transform hugging_face_transform = Transform::none, gguf_transform = Transform::none;
  bool may_be_stored = false;  ///< a head: its weight is ignored where it is tied, its bias is not
  Layers layers = Layers::all;
};

/// Which layers have the sliding window when the checkpoint has no list of layer types.
enum class WindowRule {
  none,         ///< there is no window
  all,          ///< every layer
  upper,        ///< layers >= max_window_layers
  all_but_nth,  ///< every sliding_window_pattern-th layer is global
  lower_even,   ///< layers 0, 2, ... < max_window_layers
  no_rotary,    ///< layers without a rotary
};

/// Where the traits of biases come from.
enum class Biases {
  from_checkpoint,  ///< config.json's attention_bias (q, k, v and o) and mlp_bias; a GGUF's tensors
  fixed,            ///< the row
};

/// A key of config.json, and the names by which a family's class reads it, of which the first goes before the
/// others; none: the class reads it by no name.
using Spelling = std::pair<const char*, std::vector<const char*>>;

struct Family {
  const char* name;
  std::vector<std::string> model_types;         ///< config.json's model_type
  std::vector<std::string> gguf_architectures;  ///< general.architecture
  const char* defaults = "{}";                  ///< what leaving a key out of config.json means (JSON)
  /// Values of config.json that are all this program computes, and the only ones it takes (JSON).
  const char* only = "{}";
  /// Keys that its class calls otherwise than most: {"hidden_size", {"hidden_size", "n_embd"}}.
  std::vector<Spelling> keys = {};
  /// Of the keys that only some classes read, those that this one's does: the others are ignored where
  /// config.json has them, with a warning (models/config_keys.h). By the names that `keys` begins with.
  std::vector<std::string_view> reads = {};
  /// The model_type of which this is a part that stands in text_config or, of images, vision_config.
  const char* wrapper = nullptr;
  /// What its class takes for LongRoPE, beside "longrope".
  std::vector<std::string_view> longrope_types = {};
  Config traits;  ///< the fields that do not vary within the family
  Biases biases = Biases::from_checkpoint;
  WindowRule windows = WindowRule::none;
  std::optional<WindowRule> gguf_windows = {};  ///< where GGUF's differ
  int64_t window_pattern = 0;                   ///< all_but_nth's n where a checkpoint does not say
  int64_t gguf_window = 0;                      ///< the window of a GGUF that does not state it; 0 = none
  double local_rotary_base = 0;  ///< layers with a window have an unscaled rotary of this base; 0 = the same
  bool gguf_yarn_truncates = true;  ///< YaRN's correction range is rounded in GGUF files, which do not say
  bool mixture = false;             ///< the MLP is of experts, in all layers or some
  /// Its model reads images: config.json has no vocabulary but sizes of images and patches, in vision_config
  /// where a text tower stands beside.
  bool vision = false;
  bool scaled_embeddings = false;  ///< embeddings are multiplied by sqrt(D)
  int64_t mlp_factor = 0;          ///< F over D where config.json does not state F; 0 = it must
  /// Layers of the one size whose GGUF must be scaled by sqrt(D / H) instead of sqrt(d); 0 = none. GGUF has
  /// no key for it.
  int64_t gguf_layers_scaled_by_width = 0;
  /// What only this family's config.json or metadata says. Called when the sizes are read, before windows and
  /// rotaries are.
  void (*read_hugging_face)(const Fields& fields, Config& config) = nullptr;
  void (*read_gguf)(const Keys& keys, const io::Checkpoint& checkpoint, Config& config) = nullptr;
  /// transformers' class, for the config.json of an exported GGUF; nullptr: a GGUF cannot be exported.
  const char* architecture = nullptr;
  std::vector<std::string> prefixes = {"model.", ""};  ///< tried in order, by the embedding's name
  /// Beginnings (or, after a *, endings) of names that are no weights of the model: vision towers, buffers.
  std::vector<std::string> ignored = {};
  std::vector<WeightRow> weights;
};

const std::vector<Family>& families();
/// Throws for an unknown one, naming it, the file and the known ones.
const Family& family_of_model_type(const std::string& model_type, const std::string& where);
/// `mixture`: the file's MLP is of experts; Llama and Mixtral are of one architecture.
const Family& family_of_gguf(const std::string& architecture, bool mixture, const std::string& where);

}  // namespace outliers::models
