// The numbers that rules compare with thresholds (docs/rules.md): each reads a survey's results alone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "outliers/results/results.h"

namespace outliers::studies {

/// A metric at one place.
struct Sample {
  double value = 0;
  results::FindingPlace place;  ///< `layers` is empty
  /// What a rule's text may say of it beside the value and the place, by the names of Metric::words.
  results::Named<std::string> words = {};
};

struct Metric {
  std::string name, unit;
  std::string what;                   ///< the definition, and what there is one of: "..., by layer and input"
  std::vector<std::string> measures;  ///< that it reads; none: every report has it
  std::vector<std::string> at = {};   ///< points or modules that it is of; none: of neither
  std::vector<std::string> words = {};
  std::function<std::vector<Sample>(const results::Results&)> samples;
};

/// All of them: those written here, and each number that a measure gives for a layer or head, by its name.
const std::vector<Metric>& metric_table();

}  // namespace outliers::studies
