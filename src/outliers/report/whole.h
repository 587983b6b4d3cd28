// Reports with values that are NaN or infinite: what is left of a layer when these are left out is no
// measurement of it.
#pragma once

#include "outliers/results/results.h"

namespace outliers::report {

/// Whether any layer's measurements of activations or attention have such values.
bool has_nonfinite(const results::Results& r);

/// The results with nothing in those layers: NaN and empty lists.
results::Results whole_layers(results::Results r);

}  // namespace outliers::report
