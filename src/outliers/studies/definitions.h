// The definitions that a report used, with their sources, as results.json repeats them.
#pragma once

#include <nlohmann/json.hpp>

namespace outliers::studies {

/// Name of the field -> what it is and where that comes from.
/// `images`: of a model of images, with what concerns them alone.
nlohmann::ordered_json definitions(bool images = false);

}  // namespace outliers::studies
