// Super weights: single entries of down projections without which a model falls apart (Yu et al., arXiv
// 2411.07191), and what becomes of its predictions without them.
#pragma once

#include <cstdint>

#include "outliers/core/criteria.h"
#include "outliers/models/model.h"
#include "outliers/results/super_weights.h"
#include "outliers/run/edit.h"
#include "outliers/run/input.h"
#include "outliers/run/options.h"

namespace outliers::studies {

/// As in section 3.1: of a forward pass of one sequence (text or an image), the first layer whose down
/// projection gives an abs value above criteria.super_weight_spike has a super weight: its row is the channel
/// of the largest, its column the neuron with the largest abs input at that token. It is set to zero, and so
/// on, until no output is above it, or 16 are found. The first, as what later layers answer to it goes
/// with it. Adds to `times`. Shows progress on a terminal, unless `quiet`. Throws what runs throw.
results::SuperWeights find_super_weights(const models::Model& model, const run::Input& input,
                                         const run::RunOptions& options, const Criteria& criteria,
                                         run::RunTimes& times, bool quiet = false);

/// weight.L.down[row=R,column=C]: where edits of it are.
run::Edit site_of(const results::SuperWeight& weight);

}  // namespace outliers::studies
