// Super weights: single entries of down projections without which a model falls apart (Yu et al., arXiv
// 2411.07191).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/criteria.h"
#include "outliers/models/model.h"
#include "outliers/run/edit.h"
#include "outliers/run/options.h"

namespace outliers::studies {

/// An entry of a down projection, by what showed it.
struct SuperWeight {
  int64_t layer = 0, row = 0, column = 0;
  int64_t expert = -1;               ///< run::kNoExpert, run::kSharedExpert or a number
  int64_t token = 0;                 ///< where its projection's input spikes
  double down_in = 0, down_out = 0;  ///< the spikes: of the column's neuron, and of the row's channel
};

/// As in section 3.1: of a forward pass of ids [1,T], the first layer whose down projection gives an abs
/// value above criteria.super_weight_spike has a super weight: its row is the channel of the largest, its
/// column the neuron with the largest abs input at that token. It is set to zero, and so on, until no output
/// is above it, or `most` are found. The first, as what later layers answer to it goes with it. Throws what
/// runs throw.
std::vector<SuperWeight> find_super_weights(const models::Model& model, const at::Tensor& ids,
                                            const run::RunOptions& options, const Criteria& criteria = {},
                                            int64_t most = 16);

/// weight.L.down[row=R,column=C]: where edits of it are.
run::Edit site_of(const SuperWeight& weight);

}  // namespace outliers::studies
