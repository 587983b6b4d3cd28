// The parts in which a run's inputs pass a layer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/run/points.h"

namespace outliers::run {

/// Whole sequences that pass a layer together.
struct Chunk {
  Slice slice;
  int64_t sequences, tokens;
  at::Tensor hidden = {};             // [b,T,D]; undefined while it is on disk, and before a branch forks
  std::optional<size_t> record = {};  // of the spill
};

/// The numbers of an input's chunks. Those of a branch have the sequences of its parent's.
inline std::vector<size_t> chunks_of(const std::vector<Chunk>& chunks, size_t input) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].slice.input == input) numbers.push_back(i);
  }
  return numbers;
}

}  // namespace outliers::run
