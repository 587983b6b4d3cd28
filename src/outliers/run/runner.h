// Layer-major forward pass: all inputs pass layer l before layer l+1 is loaded, so each weight byte is read
// once and only one or two layers and the hidden states are in memory. Observers see the points they ask for
// while they exist.
#pragma once

#include <vector>

#include "outliers/models/model.h"
#include "outliers/run/input.h"
#include "outliers/run/observer.h"
#include "outliers/run/options.h"

namespace outliers::run {

/// Runs the inputs through the model and calls the observers in layer order; within a layer input by input,
/// within an input in order of sequences. What a branch shares with its parent is shown with the parent's,
/// chunk by chunk. Tensors shown are never written to afterwards while an observer holds them. dtype:
/// float32, bfloat16, float16 or float64. Throws for ids outside the vocabulary, for a memory limit that is
/// too small, for a disk without room for what it has to take, and Interrupted.
RunTimes forward(const models::Model& model, const std::vector<Input>& inputs,
                 const std::vector<Observer*>& observers, const RunOptions& options);

}  // namespace outliers::run
