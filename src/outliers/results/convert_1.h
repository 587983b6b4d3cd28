// Reports of schema outliers-results/1 in the form of the current schema; for the reader of results.json
// alone. What breaks the old form stays broken, and the reader tells of it.
#pragma once

#include <nlohmann/json.hpp>

#include "outliers/results/results.h"

namespace outliers::results {

inline constexpr const char* kOldSchema = "outliers-results/1";

/// All but layers, criteria and definitions.
nlohmann::ordered_json converted_from_1(const nlohmann::ordered_json& json);

/// How many layers any part of it has.
size_t layers_of_1(const nlohmann::ordered_json& json);

/// One layer. A layer at a time, so that no file makes the converted ones take much more memory than it.
nlohmann::ordered_json layer_of_1(const nlohmann::ordered_json& json, size_t layer);

}  // namespace outliers::results
