// Outlier keys of one layer's attention, from column sums of the probabilities (no T x T matrix comes here).
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/criteria.h"
#include "outliers/core/export.h"

namespace outliers {
class ByteReader;
class ByteWriter;
}  // namespace outliers

namespace outliers::stats {

struct KeyScore {
  int64_t sequence, key;
  double score;  ///< mean over heads of the sum over queries of A, of those that are finite: between 0 and T
};

struct AttentionOptions {
  int64_t top = 10;
  Criteria criteria;
};

struct HeadSummary {
  double outlier_share =
      0;  ///< the layer's outlier keys' part of this head's total probability mass, over all sequences
  double sink_rate = 0;  ///< share of sequences with alpha_1 > eps
};

struct AttentionSummary {
  at::Tensor key_scores;               ///< [N,T] float32, CPU: of all keys; NaN where no head's sum is finite
  std::vector<KeyScore> top_keys;      ///< largest score first
  std::vector<KeyScore> outlier_keys;  ///< all at or above the threshold, by sequence and key
  std::vector<double> top3_mean;       ///< largest, second, third score of each sequence, mean over sequences
  double median = 0;                   ///< of the scores of all keys of all sequences
  std::vector<HeadSummary> heads;
  int64_t nonfinite = 0;  ///< sums that were NaN or Inf, left out
};

class OUTLIERS_API AttentionAccumulator {
 public:
  explicit AttentionAccumulator(AttentionOptions options = {});
  /// key_sums [B,H,T] and sink_rates [B,H] as ops::AttentionSums has them; sequences numbered from
  /// first_sequence.
  void add(const at::Tensor& key_sums, const at::Tensor& sink_rates, int64_t first_sequence);
  void merge(const AttentionAccumulator& other);
  /// For another process, which merges what it loads.
  void save(ByteWriter& out) const;
  static AttentionAccumulator load(ByteReader& in, AttentionOptions options = {});
  AttentionSummary finish() const;

 private:
  AttentionOptions options_;
  struct Sequence {
    int64_t number;
    at::Tensor key_sums;    // [H,T] float32, CPU
    at::Tensor sink_rates;  // [H] float32, CPU
  };
  std::vector<Sequence> sequences_;
};

}  // namespace outliers::stats
