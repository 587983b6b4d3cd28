// What an evaluation on text found, in words.
#pragma once

#include <cstddef>
#include <string>

#include "outliers/results/intervention.h"
#include "outliers/results/perplexity.h"

namespace outliers::report {

/// On what and by what, as a labelled list.
std::string evaluated_text(const results::Model& model, const results::EvaluationRun& run,
                           const results::EvaluationText& text, size_t width);

/// A labelled list, folded to `width` columns (0: not).
std::string perplexity_text(const results::Perplexity& perplexity, size_t width);

/// A table of the runs, at most `table_width` columns wide, with the controls of a run as their mean, and a
/// labelled list of what the runs are.
std::string interventions_text(const results::Interventions& interventions, size_t table_width, size_t width);

}  // namespace outliers::report
