// Reports with values that are NaN or infinite: what is left of a layer when these are left out is no
// measurement of it.
#pragma once

#include "outliers/report/results.h"

namespace outliers::report {

/// Whether any layer's measurements of activations or attention have such values.
bool has_nonfinite(const Results& results);

/// The report with nothing in those layers, nulls and empty lists, read again from its files.
Results whole_layers(const Results& results);

}  // namespace outliers::report
