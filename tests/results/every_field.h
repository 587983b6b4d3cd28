// Results in which every field of every type is there, made by a visitor of the table of fields.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "outliers/results/intervention.h"
#include "outliers/results/results.h"

namespace outliers::tests {

/// Consistent results of a corpus and a prompt, of images and of experts at once. `distinct`: the values
/// differ from each other wherever consistency leaves them free; else numbers are the smallest that are
/// allowed.
results::Results every_field(bool distinct);

/// Each value of results by its path, as a text.
std::vector<std::pair<std::string, std::string>> values_of(results::Results& results);

/// The same of interventions: the plain run and two more, the last a control of the one before.
results::Interventions every_intervention_field();

}  // namespace outliers::tests
