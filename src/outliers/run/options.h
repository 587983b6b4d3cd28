// How a run goes, and what it took.
#pragma once

#include <cstdint>
#include <filesystem>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "outliers/core/criteria.h"

namespace outliers {
class Ranks;
}

namespace outliers::run {

class LogitBlocks;

struct RunOptions {
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  /// Tokens computed at a time within a layer, in whole sequences (at least one): bounds the memory of
  /// activations.
  int64_t chunk_tokens = 2048;
  bool logits = false;  ///< compute final_norm_out and, where an observer wants them, logits
  int64_t sink_queries = Criteria{}.sink_queries;  ///< as in ops::AttentionSums
  LogitBlocks* logit_blocks = nullptr;             ///< is shown logits by blocks, where `logits` is set
  int64_t layers = -1;  ///< stop after this many layers; -1 = all; fewer than all cannot have logits
  /// Resident bytes that the whole process may take, 0: any number. Chunks may become smaller, and hidden
  /// states and what observers keep go to disk where they must (run/memory_plan.h).
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

  /// Adds a later run's.
  RunTimes& operator+=(const RunTimes& more) {
    load_seconds += more.load_seconds;
    forward_seconds += more.forward_seconds;
    observer_seconds += more.observer_seconds;
    weight_bytes_read += more.weight_bytes_read;
    spilled_bytes += more.spilled_bytes;
    if (first_product_seconds == 0) first_product_seconds = more.first_product_seconds;
    return *this;
  }
  /// Of load, forward and observers.
  double seconds() const { return load_seconds + forward_seconds + observer_seconds; }
};

}  // namespace outliers::run
