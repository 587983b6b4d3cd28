// What a plain run and its branches predict of the same windows.
#pragma once

#include <utility>
#include <vector>

#include "outliers/core/ranks.h"
#include "outliers/eval/windows.h"
#include "outliers/models/model.h"
#include "outliers/run/input.h"
#include "outliers/run/observer.h"
#include "outliers/run/options.h"

namespace outliers::studies {

/// Sums over the scored tokens of each window, by input and window; of all ranks, on rank 0.
struct BranchSums {
  std::vector<std::vector<double>> nll_nats, kl_nats, same_top1;
};

/// Passes inputs[0], which is the plain run, and its branches through the model. part: the windows
/// [first, last) that are this rank's and inputs[0]'s. Adds to `times`. Shows progress, called `what`, on a
/// terminal. Throws what runs throw.
BranchSums sum_branches(const models::Model& model, const eval::Windows& windows,
                        std::pair<int64_t, int64_t> part, const std::vector<run::Input>& inputs,
                        std::vector<run::Observer*> observers, const char* what, run::RunOptions options,
                        Ranks* ranks, run::RunTimes& times);

}  // namespace outliers::studies
