// What a transformer computes, as data. Compute code reads these fields and never asks for a family's name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "outliers/core/export.h"

namespace outliers::models {

enum class NormKind { rms, layer };
enum class Activation { silu, gelu_tanh, gelu, relu, quick_gelu };  // the last: x * sigmoid(1.702 x)
/// Where the model learns of positions.
enum class Positions {
  rotary,   ///< queries and keys turn by their positions, in the layers that have a rotary
  learned,  ///< a table's rows are added to the embeddings
  alibi,    ///< scores fall with distance (arXiv 2108.12409)
};
/// What a norm of queries and keys runs over, and what its weight is like.
enum class QkNorm {
  none,
  shared,    ///< over each head; one weight [d] for all of them
  per_head,  ///< over each head; a weight [d] for each
  whole,     ///< over all heads of a token together; weights [H*d] and [Hk*d]
};

/// Rotary position embedding, one per kind of layer (Gemma 3 has a local and a global one).
/// models/rotary.h turns it into frequencies.
struct Rotary {
  double base = 10000.0;
  int64_t width = 0;    ///< rotated part of the head; 0 = none
  std::string scaling;  ///< "", "linear", "llama3", "yarn", "dynamic", "longrope"
  double factor = 1.0;
  double low_frequency_factor = 1.0, high_frequency_factor = 4.0;  ///< llama3
  int64_t original_positions = 0;            ///< llama3, yarn, longrope; dynamic: where growth begins
  double beta_fast = 32.0, beta_slow = 1.0;  ///< yarn
  bool truncate = true;                      ///< yarn: its correction range is rounded to whole frequencies
  double attention_factor = 1.0;             ///< multiplies cos and sin
  std::vector<double> factors;  ///< divisor per frequency (GGUF's rope_freqs.weight, longrope's short ones)
  std::vector<double> long_factors;  ///< longrope: used instead beyond original_positions
  bool operator==(const Rotary&) const = default;
};

/// An MLP in parts, of which each token passes a few (arXiv 2401.04088) and, in some models, one more that
/// all tokens pass.
struct Experts {
  int64_t count = 0;         ///< E; 0: there are none, every layer has one MLP
  int64_t used = 0;          ///< k: by each token, those with its largest router logits
  int64_t width = 0;         ///< Fe: neurons of each
  int64_t shared_width = 0;  ///< Fs: neurons of the shared expert; 0 = there is none
  bool normalised = true;    ///< an output's weight is a softmax over the k logits, else over all E
  bool operator==(const Experts&) const = default;
};

/// What becomes of learnt positions where an image has another grid of patches than they were learnt for.
enum class PositionResize {
  none,                 ///< such an image is an error
  bicubic,              ///< they are interpolated, in float32 (Dinov2Embeddings of transformers)
  bicubic_antialiased,  ///< with the antialiasing filter (Dinov2WithRegistersEmbeddings)
};

/// How an image becomes tokens: one each for CLS, registers and patches, in this order (arXiv 2010.11929;
/// registers: 2309.16588). The patches go row by row. Positions are learnt for CLS and the patches; registers
/// have none.
struct Vision {
  int64_t channels = 0;  ///< C of an image; 0: the model reads text
  int64_t image_height = 0, image_width = 0, patch_height = 0, patch_width = 0;  ///< pixels
  int64_t registers = 0;                                                         ///< R
  PositionResize resize = PositionResize::none;
  bool operator==(const Vision&) const = default;
};

/// How a checkpoint keeps its weights. Only what resolves, loads and writes them reads it (models/weights.h,
/// models/export.h, run/layer_weights.h); a model computes the same whatever it says.
struct Storage {
  bool fused_qkv = false;        ///< q, k and v are one matrix
  bool fused_gate_up = false;    ///< so are gate and up
  bool mixed_gate_up = false;    ///< fused: rows of gate and up take turns
  bool stacked_experts = false;  ///< one tensor for all experts
  bool fused_experts = false;    ///< gate and up of an expert are one tensor
  bool norm_less_one = false;    ///< a norm's weight is w - 1 (Gemma); GGUF files have w itself
  bool operator==(const Storage&) const = default;
};

struct Config {
  std::string family;  ///< row of the family table: "llama", "qwen2", "gemma3"
  std::string name;    ///< general.name, _name_or_path, or the file's name
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0, mlp_width = 0, vocabulary = 0;
  int64_t max_positions = 0;
  int64_t embedding_width = 0;  ///< of the embedding and the head: D, but for models that project (OPT 350M)

  NormKind norm = NormKind::rms;
  double norm_epsilon = 1e-6;
  bool norm_weight = true;      ///< norms have a learnt weight (OLMo: none)
  bool norm_bias = false;       ///< and a learnt bias
  bool input_norms = true;      ///< norms before attention and MLP
  bool branch_norms = false;    ///< norms after attention and MLP, before each addition (Gemma 2, 3, OLMo 2)
  bool residual_norms = false;  ///< norms after each addition, of the residual itself (OPT 350M)
  bool final_norm = true;       ///< a norm before the head
  bool embedding_norm = false;  ///< a norm of what layer 0 reads (CLIP)
  /// A gain vector multiplies what attention and MLP give, before each addition (LayerScale, arXiv
  /// 2103.17239).
  bool branch_scales = false;
  /// Attention and MLP both read the layer's input, and both are added to it.
  bool parallel = false;
  bool shared_norm = false;  ///< parallel: the MLP reads the attention's norm, there is no other

  Activation activation = Activation::silu;
  bool gated_mlp = true;
  double mlp_clamp = 0;      ///< the gate is cut above it, up on both sides; 0 = off
  bool up_adds_one = false;  ///< act_out multiplies up + 1
  Experts experts;
  std::vector<bool> routed;       ///< per layer: its MLP is of experts
  QkNorm qk_norm = QkNorm::none;  ///< of the kind of all norms
  bool qk_norm_bias = false;
  bool attention_bias = false;  ///< biases of q, k, v
  bool output_bias = false;     ///< bias of o
  bool mlp_bias = false;
  bool head_bias = false;
  bool tied_embeddings = false;  ///< the embedding's matrix gives the logits, too
  /// The tensor that would give the logits where the checkpoint has none, as embedding models do; "": it has.
  std::string missing_head;
  double embedding_scale =
      1.0;  ///< multiplies the embeddings (Gemma: sqrt(D)), after rounding to the dtype of the run
  double qkv_clip = 0;                              ///< q, k and v are cut to [-clip, clip]; 0 = off
  bool causal = true;                               ///< a query sees no later key
  double attention_scale = 0;                       ///< multiplies q.k
  bool scale_by_layer = false;                      ///< layer l divides attention_scale by l + 1
  double attention_softcap = 0, logit_softcap = 0;  ///< 0 = off

  Positions positions = Positions::rotary;
  int64_t position_offset = 0;       ///< learned: token 0 takes this row of the table (OPT: 2)
  std::vector<double> alibi_slopes;  ///< alibi: per head
  std::vector<int64_t> windows;      ///< per layer: sliding window, 0 = global
  std::vector<int> rotary_of_layer;  ///< per layer: index into rotaries, -1 = none
  std::vector<Rotary> rotaries;
  Vision vision;
  Storage storage;
  bool operator==(const Config&) const = default;
};

inline bool reads_images(const Config& config) {
  return config.vision.channels > 0;
}

/// Whether logits can be computed.
inline bool has_head(const Config& config) {
  return !reads_images(config) && config.missing_head.empty();
}

inline bool is_routed(const Config& config, int64_t layer) {
  return !config.routed.empty() && config.routed[static_cast<size_t>(layer)];
}
/// Neurons of the widest MLP that a layer has: F, Fe or Fs.
OUTLIERS_API int64_t widest_mlp(const Config& config);

}  // namespace outliers::models
