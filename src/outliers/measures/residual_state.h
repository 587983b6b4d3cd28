// What interventions tell of a layer: the extent of the residual stream, and the heads' sink rates.
#pragma once

#include "outliers/measures/measure.h"

namespace outliers::measures {

/// Of one input from a layer on, at which it begins to be another than the one it branches from. Of each
/// layer it writes resid_out.max and median, and attention.heads[].sink_rate; the rest of these stays 0.
std::unique_ptr<Measure> residual_state(const Context& context, size_t input, int64_t first_layer);

}  // namespace outliers::measures
