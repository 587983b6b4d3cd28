// What stands out by the definitions of papers, from what was measured.
#pragma once

#include "outliers/results/results.h"

namespace outliers::studies {

/// Fills in the summary's axes, secondary sinks, super experts and inactive heads, of the layers before its
/// first_nonfinite; what their measures did not find stays empty.
void add_features(results::Results& results);

}  // namespace outliers::studies
