// Logits a block of the vocabulary at a time, for those who need them of many tokens: [T,V] would be larger
// than anything else in a run.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/models/config.h"
#include "outliers/run/branches.h"
#include "outliers/run/chunk.h"

namespace outliers::run {

class Head;

/// Is shown logits by blocks. Each block of the output matrix is read once, and all tokens pass it before the
/// next one. Whole logits are never there, so edits of the point `logits` cannot be seen.
class LogitBlocks {
 public:
  virtual ~LogitBlocks() = default;
  /// Of which tokens of an input without a parent: their places in [B,T], row by row; int64 [n], ascending,
  /// on the CPU. A branch's are its parent's.
  virtual at::Tensor places(size_t input) const = 0;
  /// logits [m,v], with scale and soft-cap, of the tokens places[first..first+m) and the ids first_id..: in
  /// the run's dtype, on its device. A branch is shown what its parent was just shown; never to be written
  /// to.
  virtual void on_logits(size_t input, int64_t first, int64_t first_id, const at::Tensor& logits) = 0;
};

/// Tokens whose logits are computed at a time.
inline constexpr int64_t kLogitTokens = 1024;

/// Hidden states of one chunk, and the inputs whose they are.
struct LogitSource {
  size_t chunk;
  std::vector<size_t> inputs;
};

/// The same sequences of an input and of its branches.
struct LogitGroup {
  at::Tensor places;                 ///< in the chunk's tokens, row by row
  int64_t first;                     ///< number of the first of them, of all that are wanted of the input
  std::vector<LogitSource> sources;  ///< the input's first
};

/// Where the tokens are that the reader wants.
std::vector<LogitGroup> logit_groups(const LogitBlocks& reader, const std::vector<Chunk>& chunks,
                                     const Branches& branches);

/// Shows all blocks. look(chunk) gives what the head reads, [b,T,D].
void show_logit_blocks(Head& head, const models::Config& config, const std::vector<LogitGroup>& groups,
                       const std::function<at::Tensor(size_t chunk)>& look, LogitBlocks& reader);

/// Memory of the head for one block, on the host: of so many tokens at most, in elements of `e` bytes.
int64_t logit_block_bytes(const models::Config& config, int64_t tokens, int64_t e);

}  // namespace outliers::run
