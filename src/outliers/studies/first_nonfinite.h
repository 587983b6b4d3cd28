// What results say of the first value that is not finite: the summary tells no story beyond its layer
// (docs/results.md, first_nonfinite).
#pragma once

#include <optional>
#include <vector>

#include "outliers/measures/measure.h"
#include "outliers/results/results.h"
#include "outliers/run/finite_watch.h"

namespace outliers::studies {

/// As results have it, without what stood before.
results::FirstNonfinite describe_first(const run::FiniteWatch::First& first,
                                       const std::vector<measures::Input>& inputs,
                                       const measures::TokenNames& names);

/// The largest value of the nearest point before `first` at which all of its input's values are finite;
/// nothing without one, or where activations were not measured.
std::optional<results::Before> largest_before(const run::FiniteWatch::First& first,
                                              const results::Results& results,
                                              const std::vector<measures::Input>& inputs,
                                              const measures::TokenNames& names);

}  // namespace outliers::studies
