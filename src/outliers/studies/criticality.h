// How much a model's predictions need its super weights, beside random entries of the same matrices.
#pragma once

#include "outliers/core/ranks.h"
#include "outliers/measures/measure.h"
#include "outliers/models/model.h"
#include "outliers/results/super_weights.h"
#include "outliers/run/input.h"
#include "outliers/run/options.h"

namespace outliers::studies {

/// log10 of perplexities without each of the super weights and without all, over the perplexity with them, on
/// the tokens of a corpus but each sequence's first; and the same of 20 entries that are drawn at random in
/// the same matrix. `corpus`: this rank's sequences; `measured`: all. `weights` has one at least. Adds to
/// `times`. With ranks, rank 0 returns the result and the others an empty one. Throws what runs throw.
results::Criticality measure_criticality(const models::Model& model, const run::Input& corpus,
                                         const measures::Input& measured,
                                         const results::SuperWeights& weights, const run::RunOptions& options,
                                         Ranks* ranks, run::RunTimes& times);

}  // namespace outliers::studies
