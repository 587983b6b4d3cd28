// What a checkpoint is, as results have it.
#pragma once

#include "outliers/models/model.h"
#include "outliers/results/results.h"

namespace outliers::models {

/// Name, family, format and the sizes.
results::Model describe(const Model& model);

}  // namespace outliers::models
