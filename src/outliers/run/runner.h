// Layer-major forward pass: all inputs pass layer l before layer l+1 is loaded, so each weight byte is read
// once and only one or two layers and the hidden states are in memory. Observers see the points they ask for
// while they exist.
#pragma once

#include <filesystem>
#include <vector>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "outliers/core/ranks.h"
#include "outliers/models/model.h"
#include "outliers/run/input.h"
#include "outliers/run/observer.h"

namespace outliers::run {

struct RunOptions {
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  /// Tokens computed at a time within a layer, in whole sequences (at least one): bounds the memory of
  /// activations.
  int64_t chunk_tokens = 2048;
  bool logits = false;  ///< compute final_norm_out and, where an observer wants them, logits
  int64_t layers = -1;  ///< stop after this many layers; -1 = all; fewer than all cannot have logits
  /// Resident bytes that the whole process may take, 0: any number. Chunks may become smaller, and hidden
  /// states and what observers keep go to disk where they must (models/memory_plan.h).
  uint64_t memory_limit = 0;
  std::filesystem::path spill_directory;  ///< where they go; empty: the system's temporary directory
  Ranks* ranks = nullptr;                 ///< of inputs with part_begin: what edits take from all their parts
};

struct RunTimes {
  double load_seconds = 0;           ///< reading and dequantising weights
  double first_product_seconds = 0;  ///< from process start to the end of the first projection of layer 0
  double forward_seconds = 0;        ///< everything but load and observers
  double observer_seconds = 0;       ///< inside Observer calls
  uint64_t weight_bytes_read = 0;    ///< of the checkpoint's tensors, as stored
  uint64_t spilled_bytes = 0;        ///< written to disk for lack of memory
};

/// Runs the inputs through the model and calls the observers in layer order; within a layer input by input,
/// within an input in order of sequences. What a branch shares with its parent is shown with the parent's,
/// chunk by chunk. Tensors shown are never written to afterwards while an observer holds them. dtype:
/// float32, bfloat16, float16 or float64. Throws for ids outside the vocabulary, for a memory limit that is
/// too small, for a disk without room for what it has to take, and Interrupted.
RunTimes forward(const models::Model& model, const std::vector<Input>& inputs,
                 const std::vector<Observer*>& observers, const RunOptions& options);

}  // namespace outliers::run
