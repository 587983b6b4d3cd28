// What rules say of a survey's results: a diagnosis.
#pragma once

#include <string>
#include <vector>

#include "outliers/models/config.h"
#include "outliers/results/results.h"
#include "outliers/studies/rules.h"

namespace outliers::studies {

/// One finding of each rule and point or module where it is beyond a threshold, for all its layers together;
/// the worst first, and of these in the rules' order.
std::vector<results::Finding> findings(const results::Results& results, const std::vector<Rule>& rules);

/// The measures that the rules read, less those that have nothing to look at in the model.
std::vector<std::string> measures_of(const std::vector<Rule>& rules, const models::Config& config);

}  // namespace outliers::studies
