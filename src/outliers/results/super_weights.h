// Single entries of down projections without which a model falls apart, and what becomes of it without them.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "outliers/results/neuron.h"

namespace outliers::results {

/// An entry of a down projection, by what showed it.
struct SuperWeight {
  int64_t round = 1, layer = 0;
  std::optional<Expert> expert;
  int64_t row = 0, column = 0;
  double value = 0;  ///< the stored weight
  int64_t token = 0;
  double down_in = 0, down_out = 0;  ///< at the token: of the column's neuron, and of the row's channel
};

/// The largest value that a down projection gives.
struct Spike {
  int64_t layer = 0;
  std::optional<Expert> expert;
  int64_t token = 0, channel = 0;
  double down_out = 0;  ///< signed
};

struct SuperWeights {
  std::string input;
  std::vector<SuperWeight> found;  ///< in the order of rounds
  Spike left;
};

/// One control of a super weight.
struct RandomWeight {
  int64_t seed = 0;
  double log10_ppl_ratio = 0;
};

/// What becomes of the predictions without a weight, or without several.
struct Damage {
  double log10_ppl_ratio = 0;
  std::optional<double> standard_error;
  std::vector<RandomWeight> controls;
};

struct Criticality {
  std::string input;
  int64_t tokens_scored = 0;
  double nll_nats = 0, ppl = 0;
  std::vector<Damage> weights;  ///< of SuperWeights::found
  std::optional<Damage> together;
};

}  // namespace outliers::results
