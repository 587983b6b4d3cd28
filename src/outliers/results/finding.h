// What rules say of results.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "outliers/results/neuron.h"

namespace outliers::results {

enum class Severity { note, warning, severe };

/// Where a finding is; what does not apply is empty.
struct FindingPlace {
  std::vector<int64_t> layers;   ///< all that reach the threshold
  std::optional<int64_t> layer;  ///< where it is worst, like all that follows
  std::string point, module, input;
  std::optional<int64_t> head, channel, neuron;
  std::optional<Expert> expert;
  std::string token_text;
};

/// What a rule says of these results (docs/rules.md).
struct Finding {
  std::string id;  ///< the rule's
  Severity severity = Severity::note;
  std::string metric;
  FindingPlace place;
  double value = 0, threshold = 0;
  std::string title, text, advice, source;
};

}  // namespace outliers::results
