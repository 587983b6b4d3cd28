// What `outliers intervene` found, as types: the content of interventions.json (schema
// outliers-interventions/1). fields_evaluation.h says of each field what it is called there and what it
// means; json.h writes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "outliers/results/perplexity.h"

namespace outliers::results {

inline constexpr const char* kInterventionsSchema = "outliers-interventions/1";

/// How far a run is from the plain one.
struct Effect {
  double nll_difference = 0;
  std::optional<double> nll_difference_standard_error;
  double kl_nats = 0, top1_agreement = 0;
};

/// How many values one edit changed.
struct EditMatch {
  std::string edit;
  int64_t smallest = 0, largest = 0, total = 0;
};

/// The residual stream after a layer, and its attention.
struct LayerState {
  int64_t layer = 0;
  double max = 0, median = 0;
  std::optional<double> max_over_median;
  double sink_rate = 0;
};

/// One branch, or the plain run.
struct InterventionRun : Score {
  std::string name;
  std::string edits;
  std::optional<std::string> control_of;
  std::optional<int64_t> seed;
  std::optional<Effect> effect;
  std::vector<EditMatch> matched;
  double sink_rate = 0;
  std::vector<LayerState> layers;
  std::vector<double> window_nll_nats;
};

struct Interventions {
  std::string schema = kInterventionsSchema;
  Model model;
  EvaluationRun run;
  EvaluationText text;
  std::vector<InterventionRun> runs;
};

}  // namespace outliers::results
