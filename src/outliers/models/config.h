// What a transformer computes, as data. Compute code reads these fields and never asks for a family's name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace outliers::models {

enum class NormKind { rms, layer };
enum class Activation { silu, gelu_tanh, gelu, relu };

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
};

struct Config {
  std::string family;  ///< row of the family table: "llama", "qwen2", "gemma3"
  std::string name;    ///< general.name, _name_or_path, or the file's name
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0, mlp_width = 0, vocabulary = 0;
  int64_t max_positions = 0;

  NormKind norm = NormKind::rms;
  double norm_epsilon = 1e-6;
  bool norm_adds_one = false;  ///< weight is stored as w - 1 (Gemma); GGUF files store w itself
  Activation activation = Activation::silu;
  bool gated_mlp = true;
  bool sandwich_norms = false;  ///< norms after attention and MLP, before each addition (Gemma 2 and 3)
  bool qk_norm = false;         ///< RMS norm over each head of query and key
  bool attention_bias = false;  ///< biases of q, k, v
  bool output_bias = false;     ///< bias of o
  bool mlp_bias = false;
  bool tied_embeddings = false;
  double embedding_scale =
      1.0;  ///< multiplies the embeddings (Gemma: sqrt(D)), after rounding to the dtype of the run
  double attention_scale = 0;                       ///< multiplies q.k
  double attention_softcap = 0, logit_softcap = 0;  ///< 0 = off

  std::vector<int64_t> windows;      ///< per layer: sliding window, 0 = global
  std::vector<int> rotary_of_layer;  ///< per layer: index into rotaries
  std::vector<Rotary> rotaries;
};

}  // namespace outliers::models
