// Perplexity: how well a model predicts a text (docs/perplexity.md).
#pragma once

#include "outliers/eval/evaluation.h"
#include "outliers/models/model.h"
#include "outliers/results/perplexity.h"

namespace outliers::eval {

/// All windows pass the model layer by layer. Shows progress on a terminal. Throws what cut_windows() and the
/// run throw, for fewer windows than ranks, and for logits that are not finite, naming the first layer and
/// point with such a value. With ranks, rank 0 returns the result and the others an empty one.
results::Perplexity perplexity(const models::Model& model, const EvaluationOptions& options);

}  // namespace outliers::eval
