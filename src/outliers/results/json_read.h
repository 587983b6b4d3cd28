// Reads types from JSON by the table of fields; for this room alone.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "outliers/results/intervention.h"
#include "outliers/results/results.h"

namespace outliers::results {

/// From results.json of the current schema. `file` is named by errors.
Results from_json(const nlohmann::ordered_json& json, const std::string& file);

/// From results.json of schema outliers-results/1.
Results from_json_1(const nlohmann::ordered_json& json, const std::string& file);

/// Whether counts and places fit each other, so that what passes can be indexed without another look. Throws
/// an Error that names `file` and the field.
void check_consistency(const Results& results, const std::string& file);
void check_consistency(const Interventions& interventions, const std::string& file);

/// The criteria in force.
nlohmann::ordered_json criteria_json();

}  // namespace outliers::results
