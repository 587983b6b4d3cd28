// Interventions: what becomes of a model's predictions when values or weights are changed on the way, beside
// matched random changes (docs/interventions.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "outliers/eval/evaluation.h"
#include "outliers/models/model.h"
#include "outliers/results/intervention.h"

namespace outliers::studies {

struct InterventionOptions {
  eval::EvaluationOptions evaluation;
  std::vector<std::string> edits;  ///< as run::parse_edits(); each is a branch
  int64_t controls = 0;            ///< of each branch
};

/// The plain run and all branches in one pass over the weights. A branch's control has its edits with the
/// condition random=1, random=2, ... Shows progress on a terminal. Throws what windows, edits and run throw,
/// for edits of logits, for one that changes nothing in any window, and for plain logits that are not finite.
/// With ranks, rank 0 returns the result and the others an empty one.
results::Interventions intervene(const models::Model& model, const InterventionOptions& options);

}  // namespace outliers::studies
