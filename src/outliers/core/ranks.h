// The processes of one run, started by torchrun, srun or mpirun: each takes a part of the sequences, and rank
// 0 merges and writes. Messages go through PyTorch's c10d: Gloo, and NCCL for what is large where results lie
// on GPUs and the build has it. A rank that fails ends the others, with its reason.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"

namespace outliers {

/// A rank's place, as a launcher tells it.
struct RankPlace {
  int rank = 0, size = 1, local_rank = 0;
  std::string address;  ///< of rank 0's machine; "" where the launcher does not say it
  int port = 29500;

  /// Reads what torchrun (RANK, WORLD_SIZE, ...), srun (SLURM_...), Open MPI (OMPI_COMM_WORLD_...) and MPICH
  /// or Intel MPI (PMI_...) set. MASTER_ADDR and MASTER_PORT go before what is guessed.
  static RankPlace from_environment();
};

class OUTLIERS_API Ranks {
 public:
  /// nullptr where there is one process only. Waits for the others; throws when they do not come within a
  /// minute. From then on a write to a closed pipe or socket is an error, not the end (SIGPIPE is ignored).
  static std::unique_ptr<Ranks> join(const RankPlace& place);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  /// Where this rank's results lie; all ranks call it, before they speak.
  void use(at::Device device);
  /// Throws what another rank failed with; cheap enough for every step of long work.
  void check();

  int rank() const;
  int size() const;
  int local_rank() const;  ///< among those of its machine
  bool is_root() const { return rank() == 0; }
  /// The part [first, last) of `count` things that is this rank's; all parts together are all things, in
  /// order.
  std::pair<int64_t, int64_t> part(int64_t count) const;

  // All ranks call these in the same order. They throw what another rank failed with.
  /// The bytes of every rank, in the order of ranks, on rank 0; nothing on the others.
  std::vector<std::string> gather(std::string_view bytes);
  /// Rank 0's bytes, on every rank.
  std::string broadcast(std::string_view bytes);

  /// Tells the others why this rank ends.
  void abandon(const std::string& reason) noexcept;

 private:
  struct State;
  explicit Ranks(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Joins the processes that a launcher started (RankPlace) and does `work` in each; where it throws, the
/// others end with the same reason. nullptr: there is one process only.
OUTLIERS_API void run_ranks(const std::function<void(Ranks* ranks)>& work);

}  // namespace outliers
