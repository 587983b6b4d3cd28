// How a run fits into a limited memory: what every part of it takes, known before anything is read. A run
// needs one layer's weights, the work space of one chunk, what the observers keep, and the hidden states.
// Where that is too much, hidden states and observers' tensors go to disk first, for this changes no number;
// then chunks become smaller, down to one sequence. docs/size.md says what is not counted.
#pragma once

#include <cstdint>
#include <vector>

#include "outliers/run/runner.h"

namespace outliers::run {

/// In bytes; each at its largest.
struct MemoryPlan {
  int64_t chunk_tokens = 0;
  bool spills = false;     ///< hidden states and what observers can do without are on disk
  bool keeps_head = true;  ///< the output matrix may stay in memory between groups of sequences
  uint64_t process = 0;    ///< resident before the run
  uint64_t reserve = 0;    ///< set aside for what is in no plan
  uint64_t weights = 0;    ///< the largest layer, with the experts that tokens can choose
  uint64_t reading = 0;    ///< beside them, before tokens pass: what reading the largest takes for a moment
  int64_t largest_layer = 0;
  uint64_t mapped = 0;     ///< of that, at most, pages of the checkpoint's files
  uint64_t work = 0;       ///< one chunk's way through a layer, as its rehearsal has it
  uint64_t observers = 0;  ///< with what they keep of a layer, where it is not on disk
  uint64_t hidden = 0;     ///< hidden states in memory
  uint64_t hidden_on_disk = 0;
  uint64_t edits =
      0;  ///< copies of edited matrices, and points kept whole for edits that depend on all of them
  uint64_t kept_on_disk = 0;  ///< those points, where they are there
  uint64_t total = 0;         ///< of all phases: embedding, layers, logits, the observers' end
};

/// Where options.memory_limit is 0, chunks as asked for and nothing else. Otherwise the first plan that fits;
/// throws where none does. `process_bytes` are resident already. Tensors on a GPU are not counted.
MemoryPlan plan_memory(const models::Model& model, const std::vector<Input>& inputs,
                       const std::vector<Observer*>& observers, const RunOptions& options,
                       uint64_t process_bytes);

/// Set aside for what is in no plan: lists of results; for each thread its stack and the packed operands of
/// matrix products; on a GPU kernels, each of which CUDA loads into the host's memory when it is first used.
inline constexpr uint64_t kMemoryReserve = uint64_t{96} << 20;
inline constexpr uint64_t kThreadReserve = uint64_t{16} << 20;
inline constexpr uint64_t kDeviceReserve = uint64_t{512} << 20;

/// Logits of one group of sequences stay below this many elements (unless one sequence has more).
inline constexpr int64_t kLogitElements = int64_t{1} << 28;
/// Rows of the output matrix that are dequantised at a time.
inline constexpr int64_t kVocabularyRows = 8192;
/// Sequences of T tokens that pass a layer together, and those whose logits make a group.
int64_t chunk_sequences(int64_t chunk_tokens, int64_t T);
int64_t logit_group(const models::Config& config, int64_t T);

}  // namespace outliers::run
