// Statistics of one activation point over many tokens: mergeable, in one pass over each tensor on the device
// it lives on. float32 needs a second pass (refine) for the exact median, because 32 bits do not fit one
// histogram; for bfloat16 and float16 the first pass is exact. Definitions: docs/results.md.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/criteria.h"
#include "outliers/core/export.h"

namespace outliers {
class ByteReader;
class ByteWriter;
}  // namespace outliers

namespace outliers::stats {

struct ActivationValue {
  double value;  ///< signed
  int64_t sequence, token, channel;
};

struct ChannelMax {
  int64_t channel;
  double max;  ///< largest abs x in the channel
};

struct ActivationOptions {
  int64_t top = 10;  ///< entries of `top` and `top_channels`
  int64_t massive_limit =
      1000;  ///< entries of `massive` at most, the largest first; `massive_count` is never cut
  Criteria criteria;
};

/// All of abs x unless it says otherwise. NaN and Inf are counted in nan_count/inf_count and left out of
/// everything else.
struct ActivationSummary {
  int64_t count = 0;  ///< finite values
  int64_t nan_count = 0, inf_count = 0;
  double max = 0, median = 0, mean = 0;
  double kurtosis_pearson =
      0;  ///< of signed x, E(x-mu)^4 / (std^4 + 1e-6) per sequence, mean over sequences (2306.12929)
  double infinity_norm = 0;  ///< per-sequence max, mean over sequences (2306.12929)
  std::vector<double>
      top3_mean;  ///< largest, second, third of each sequence, mean over sequences (paper's Fig. 3)
  std::vector<ActivationValue> top;      ///< by abs, ties by (sequence, token, channel)
  std::vector<ChannelMax> top_channels;  ///< channels with the largest maxima
  std::vector<ActivationValue> massive;  ///< above massive_threshold(), largest first
  int64_t massive_count = 0;
  at::Tensor channel_max;  ///< [C] float32, CPU
  at::Tensor token_max;    ///< [N,T] float32, CPU: N sequences in the order of their numbers
};

/// x is [B,T,C] float32, float16, bfloat16 (or float64, taken as float32), B sequences numbered from
/// first_sequence. All tensors of one accumulator have the same T and C. CPU or CUDA; only small results
/// leave the device.
class OUTLIERS_API ActivationAccumulator {
 public:
  explicit ActivationAccumulator(ActivationOptions options = {});
  ~ActivationAccumulator();
  ActivationAccumulator(ActivationAccumulator&&) noexcept;
  ActivationAccumulator& operator=(ActivationAccumulator&&) noexcept;

  void add(const at::Tensor& x, int64_t first_sequence);
  /// Whether the same tensors must be shown once more, after every add() (and merge()), for exact medians and
  /// counts.
  bool needs_refinement() const;
  void refine(const at::Tensor& x, int64_t first_sequence);
  /// The same where the tensors are not all in this process: the bins to count, then what key_counts() gave
  /// for them over all tensors. The bins are fixed by the first call.
  std::vector<int64_t> refinement_bins();
  void refine(const std::vector<std::vector<int64_t>>& counts);
  /// Takes in an accumulator over other sequences of the same point.
  void merge(const ActivationAccumulator& other);
  /// For another process, which merges what it loads. Options are not among it.
  void save(ByteWriter& out) const;
  static ActivationAccumulator load(ByteReader& in, ActivationOptions options = {});
  ActivationSummary finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outliers::stats
