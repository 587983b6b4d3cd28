// Which tokens of a vocabulary spike where a sequence begins.
#pragma once

#include "outliers/core/criteria.h"
#include "outliers/measures/token_names.h"
#include "outliers/models/model.h"
#include "outliers/results/features.h"
#include "outliers/run/options.h"

namespace outliers::studies {

/// Runs every id of the vocabulary as a sequence of its own, of one token and without a BOS (Sun et al.,
/// arXiv 2603.05498): it spikes where the output of any layer has an abs x above criteria.massive_above and
/// above found_ratio x the median of abs x over its channels (there are no ordinary tokens beside it). Adds
/// to `times`; shows progress unless `quiet`. Throws what runs throw.
results::VocabularySpikes spikes_of_vocabulary(const models::Model& model, const measures::TokenNames& names,
                                               const run::RunOptions& options, const Criteria& criteria,
                                               run::RunTimes& times, bool quiet);

}  // namespace outliers::studies
