// The definitions that a report used, with their sources, as results.json repeats them.
#pragma once

#include <nlohmann/json.hpp>

namespace outliers::studies {

/// Name of the field -> what it is and where that comes from.
nlohmann::ordered_json definitions();

}  // namespace outliers::studies
