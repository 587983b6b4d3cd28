// Attention from ATen operations alone, one block of queries at a time: works on every device and under
// autograd. The kernels in cpu/ and cuda/ are what runs where speed counts; this is what they fall back to.
#pragma once

#include "outliers/ops/attention.h"

namespace outliers::ops::detail {

/// The keys that queries [first, last) can see, as a range [begin, end) of the S keys.
struct KeyRange {
  int64_t begin, end;
};
KeyRange visible_keys(int64_t first, int64_t last, int64_t T, int64_t S, const AttentionPattern& pattern);

/// float64 for float64, else float32.
at::ScalarType score_type(at::ScalarType input);

/// Scores of queries q [B,H,t,d] (numbers first .. first + t of T) and keys k [B,Hk,n,d] (numbers `begin` ..
/// `begin` + n of S) -> [B,H,t,n], in the dtype of q and k; masked entries are -inf.
at::Tensor masked_scores(const at::Tensor& q, const at::Tensor& k, const AttentionPattern& pattern,
                         int64_t first, int64_t T, int64_t begin, int64_t S);

/// The smallest and the largest of scores [B,H,t,n], without masked entries and NaN: [B,H].
struct Extremes {
  at::Tensor smallest, largest;
};
Extremes extremes(const at::Tensor& scores);

/// -sum_j A_ij log A_ij of probs [B,H,t,n]: [B,H,t].
at::Tensor entropies(const at::Tensor& probs);
/// 1 where no score of a query is above the first's, else 0: of scores [B,H,t,n], [B,H,t].
at::Tensor first_is_top(const at::Tensor& scores);

/// Softmax over the last axis of scores [B,H,t,n], joined by the sinks' logits where there are any.
at::Tensor probabilities(const at::Tensor& scores, const AttentionPattern& pattern);

/// Leaves in sums->sink_means sums, as all kernels do.
at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttentionPattern& pattern, AttentionSums* sums);

}  // namespace outliers::ops::detail
