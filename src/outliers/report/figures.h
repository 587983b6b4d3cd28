// The figures of 2502.06415 (its Figures 1, 3 to 6 and 13 to 22), for any model, and one of every value that
// a measure gives: which layers, channels, tokens and columns they show is read from the report.
// docs/figures.md lists them.
#pragma once

#include <string>
#include <vector>

#include "outliers/report/figure.h"
#include "outliers/report/results.h"

namespace outliers::report {

/// All names that the report may have, in the order of docs/figures.md: of the prompt and the corpus, of
/// further ones (exist_down_prompt2), then of the values of measures.
std::vector<std::string> figure_names(const results::Results& r);

/// The figures called `names` (all where it is empty), of those that the report has something to show for: a
/// model that removes nothing has no pos_down_removed, and what was not measured has no figure. Throws where
/// an array is missing or damaged, or where a name is of something that was not measured, and a UsageError
/// for an unknown name.
std::vector<Figure> make_figures(const Results& results, const std::vector<std::string>& names);

}  // namespace outliers::report
