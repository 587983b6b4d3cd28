// Where a model's values first pass what a number format can hold.
#pragma once

#include <vector>

#include "outliers/measures/measure.h"
#include "outliers/results/results.h"

namespace outliers::studies {

/// By format, from what the measure headroom found of the layers that the summary tells of; empty where it
/// was not made.
results::Named<std::optional<results::Overflow>> first_overflows(const results::Results& results,
                                                                 const std::vector<measures::Input>& inputs,
                                                                 const measures::TokenNames& names);

}  // namespace outliers::studies
