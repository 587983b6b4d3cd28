// What a checkpoint is: for `outliers inspect`, as JSON, and the first part of results.
#pragma once

#include <nlohmann/json.hpp>

#include "outliers/models/model.h"
#include "outliers/results/results.h"

namespace outliers::studies {

/// Name, family, format and the sizes.
results::Model describe_model(const models::Model& model);

/// Everything `outliers inspect` shows: path, model, traits, tokenizer (null without one), encodings,
/// tensors. Throws for a damaged tokenizer.
nlohmann::ordered_json inspect(const models::Model& model);

/// The parts that need no known family: path, format, weight_bytes, encodings, tensors.
nlohmann::ordered_json inspect(const io::Checkpoint& checkpoint);

}  // namespace outliers::studies
