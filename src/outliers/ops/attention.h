// Scaled dot-product attention that can also report where its probability mass went, without ever holding a T
// x T matrix. B batch, T query tokens, S key tokens, H heads, Hk key/value heads, d head width.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "outliers/core/criteria.h"
#include "outliers/core/export.h"

namespace outliers::ops {

/// How queries see keys, and what happens to the scores. Query i of T stands at position p = S - T + i of the
/// keys' sequence: the queries are its last T tokens, as with a key/value cache.
struct AttentionPattern {
  bool causal = true;       ///< query sees keys j <= p; needs S >= T
  int64_t window = 0;       ///< sliding window: p - window < j <= p; 0 = no limit; needs causal
  double scale = 1.0;       ///< usually 1/sqrt(d)
  double softcap = 0.0;     ///< scores become softcap * tanh(scores / softcap); 0 = off
  at::Tensor sinks;         ///< [H] learnt logits that join each softmax's sum (gpt-oss); undefined = none
  at::Tensor alibi_slopes;  ///< [H]: score += slope * (j - p), after the soft-cap; undefined = none
};

/// What the statistics need from the probabilities A [B,H,T,S] and the scores before them: float32 (float64
/// for float64 inputs), on the device of the inputs.
struct AttentionSums {
  /// To be set before: the queries that sinks are measured over, or all T where these are fewer.
  int64_t sink_queries = Criteria{}.sink_queries;
  /// [B,H,S]: sum over queries of A. Its mean over H is the accumulated score of a key.
  at::Tensor key_sums = {};
  /// [B,H,n]: mean of A over those of the first sink_queries queries that see the key, of the n keys that any
  /// of them sees (Gu et al. 2410.10781, alpha_k).
  at::Tensor sink_means = {};
  at::Tensor sink_rates = {};  ///< [B,H]: of the first key, over all of these queries: alpha_1
  /// [B,H]: the largest and the smallest score that the softmax reads, of the keys that a query sees; sinks'
  /// logits are none of them, and NaN is left out.
  at::Tensor logit_max = {}, logit_min = {};
  /// [B,H]: mean over queries of -sum_j A_ij log A_ij, in nats; a learnt sink's own share is left out.
  at::Tensor entropy = {};
  /// [B,H]: share of the queries, but the first, to which no key's score is above the first key's.
  at::Tensor first_is_top = {};
};

/// q [B,H,T,d], k and v [B,Hk,S,d] (H a multiple of Hk; any strides) -> [B,H,T,d] in q's dtype.
/// Softmax and sums are float32 (float64 for float64 inputs). Fills `sums` when given, from the same scores.
/// Differentiable in q, k, v and sinks; the sums carry no gradient.
OUTLIERS_API at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const AttentionPattern& pattern, AttentionSums* sums = nullptr);

/// Full matrices for a short prompt: logits (after scale, soft-cap, bias and mask; masked entries -inf) and
/// probabilities, both [B,H,T,S] float32 (float64 for float64 inputs).
struct AttentionMaps {
  at::Tensor logits, probs;
};
OUTLIERS_API AttentionMaps attention_maps(const at::Tensor& q, const at::Tensor& k,
                                          const AttentionPattern& pattern);

// The steps of attention by themselves, for maps that were changed on the way.
/// Softmax over the last axis of logits [B,H,T,S], joined by the sinks' logits where there are any.
at::Tensor attention_probs(const at::Tensor& logits, const AttentionPattern& pattern);
/// probs [B,H,T,S] and v [B,Hk,S,d] -> [B,H,T,d] in the dtype of v; computed in that of probs.
at::Tensor attend(const at::Tensor& probs, const at::Tensor& v);
/// logits, probs [B,H,T,S]; fills `sums`.
void attention_sums(const at::Tensor& logits, const at::Tensor& probs, const AttentionPattern& pattern,
                    AttentionSums& sums);

}  // namespace outliers::ops
