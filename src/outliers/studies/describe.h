// What a checkpoint is, as JSON: for `outliers inspect`.
#pragma once

#include <nlohmann/json.hpp>

#include "outliers/models/model.h"

namespace outliers::studies {

/// Everything `outliers inspect` shows: path, model, traits, tokenizer (null without one), encodings,
/// tensors. Throws for a damaged tokenizer.
nlohmann::ordered_json inspect(const models::Model& model);

/// The parts that need no known family: path, format, weight_bytes, encodings, tensors.
nlohmann::ordered_json inspect(const io::Checkpoint& checkpoint);

}  // namespace outliers::studies
