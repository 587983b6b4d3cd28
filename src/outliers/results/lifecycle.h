// The life cycle of the prompts' outliers: who writes them, what they do to attention, and who takes them
// away.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "outliers/results/neuron.h"

namespace outliers::results {

/// Tokens of a prompt whose flow arrays.npz keeps, and neurons whose rows and columns it has.
inline constexpr int64_t kLifeTokens = 64, kLifeLines = 7;
/// Projections that give a neuron its value.
inline constexpr const char* kDriving[] = {"gate", "up"};

/// What one layer adds to a value of the residual stream, in its units.
struct LayerContributions {
  int64_t layer = 0;
  std::vector<double> heads;  ///< [H]
  double attention_bias = 0;
  std::vector<Neuron> neurons;  ///< the largest by abs product
  double other_neurons = 0, mlp_bias = 0, norm = 0;
  double resid_out = 0;  ///< the value after the layer
};

/// A value of the residual stream as the sum of what wrote it.
struct Contributions {
  int64_t layer = 0, token = 0, channel = 0;
  double embedding = 0;
  std::vector<LayerContributions> layers;  ///< from the first to `layer`
  double sum = 0, residual = 0;
};

/// A channel of an MLP's input and what it gives to a neuron's gate or up projection.
struct ChannelProduct {
  int64_t channel = 0;
  double input = 0, weight = 0, product = 0;
};

/// What a projection of a neuron gives, split by the channels that it reads.
struct Drive {
  std::string module;  ///< "gate", "up"
  double value = 0;
  std::vector<ChannelProduct> channels;
  double other_channels = 0, bias = 0;
};

struct NeuronToken {
  int64_t token = 0;
  double down_in = 0;
};

/// How a neuron comes to its value at the outlier's token.
struct DrivenNeuron : Neuron {
  std::optional<double> gate_out;
  double act_out = 0, up_out = 0;
  std::vector<Drive> drives;
  std::vector<NeuronToken> tokens;  ///< those with its largest abs down_in
};

/// The layers that take the value away.
struct Disappearance {
  int64_t first_layer = 0, last_layer = 0;
  double before = 0, after = 0;
  double sum = 0;        ///< of all parts of these layers
  double cancelled = 0;  ///< -sum / before
  std::vector<LayerContributions> layers;
};

/// An outlier value's time in the residual stream.
struct Episode {
  int64_t token = 0, channel = 0;
  std::string token_text, token_class;
  int64_t born_layer = 0, peak_layer = 0;
  std::optional<int64_t> removed_layer;
  double peak = 0;  ///< signed
  std::vector<int64_t> step_up, step_down;
};

/// What was looked at closely, and why.
struct Choice {
  std::string what;  ///< "token", "channel", "born", "neuron", "removed", "spread", "head"
  int64_t number = 0;
  std::string why;
};

/// What outlier tokens do in a layer's attention; a number a head.
struct LayerSpread {
  int64_t layer = 0;
  std::vector<int64_t> tokens;
  std::vector<double> cosine_outlier, cosine_other, margin, probability, value_ratio, output_share;
};

/// A prompt's.
struct PromptLife {
  std::string input;
  std::vector<Episode> episodes;
  std::vector<Choice> chosen;
  std::optional<Contributions> emergence;
  std::vector<DrivenNeuron> neurons;  ///< of the layer of birth
  std::vector<LayerSpread> spread;
  std::optional<Disappearance> disappearance;

  std::optional<int64_t> choice(const std::string& what) const {
    for (const Choice& one : chosen)
      if (one.what == what) return one.number;
    return std::nullopt;
  }
};

/// How alike outlier tokens are after a layer's norm.
struct Constancy {
  int64_t layer = 0, tokens = 0;
  double cosine = std::numeric_limits<double>::quiet_NaN();
};

struct Lifecycle {
  std::vector<PromptLife> prompts;
  std::vector<Constancy> constancy;
};

}  // namespace outliers::results
