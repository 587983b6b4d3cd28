// Channels, heads, keys and experts that stand out by the definitions of papers, each told by a measure or
// the summary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "outliers/results/neuron.h"

namespace outliers::results {

/// A channel of the residual stream that is large in most tokens.
struct ResidualSink {
  int64_t channel = 0;
  double share = 0, rms = 0;
  std::optional<double> gain;
};

/// A channel that LLM.int8() keeps in 16 bits.
struct Int8Outlier {
  int64_t channel = 0;
  double layer_share = 0, token_share = 0;
};

/// What the up and down projections promise to write without data.
struct Collinearity {
  double value = 0;
  int64_t channel = 0, rank = 0;
  double singular_value = 0;
  std::optional<Expert> expert;
};

/// One layer on the three axes that come apart.
struct LayerAxes {
  int64_t layer = 0;
  std::optional<double> spike, sink, drain;
};

struct Axes {
  std::string input;
  std::vector<LayerAxes> layers;
};

/// A key that becomes an outlier key after the first key did.
struct SecondarySink {
  std::string input;
  int64_t sequence = 0, key = 0;
  std::string token_text, token_class;
  int64_t first_layer = 0, last_layer = 0;
  double score = 0;
};

struct SecondarySinks {
  int64_t count = 0;
  std::vector<SecondarySink> largest;
};

struct SuperExpert {
  int64_t layer = 0;
  Expert expert;
  double down_out_max = 0;
  std::string input;
};

struct InactiveHead {
  int64_t layer = 0, head = 0;
  bool dead = false;
  double output_share = 0, first_key_mass = 0;
};

struct InactiveHeads {
  std::string input;
  int64_t heads = 0, dormant = 0, dead = 0;
  std::vector<InactiveHead> list;
};

/// A token of the vocabulary, alone at position 0.
struct VocabularyToken {
  int64_t id = 0;
  std::string token_text;
  int64_t layer = 0, channel = 0;  ///< of its largest abs x
  double max = 0;
};

struct LayerSpikes {
  int64_t layer = 0;
  double share = 0;
};

struct VocabularySpikes {
  int64_t tokens = 0, spiking = 0;
  double share = 0;
  std::optional<int64_t> channel;
  std::vector<LayerSpikes> layers;
  std::vector<VocabularyToken> exceptions;
};

}  // namespace outliers::results
