// The formula of attention written out entry by entry in double: the oracle of the kernels' tests, slow on
// purpose and sharing no code with them. Vaswani et al. 1706.03762, equation 1, with the extensions of
// AttentionPattern.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

#include "outliers/ops/attention.h"

namespace outliers::ops::reference {

struct Attention {
  at::Tensor output;                ///< [B,H,T,d]
  at::Tensor logits, probs;         ///< [B,H,T,S]; masked logits are -inf
  at::Tensor key_sums;              ///< [B,H,S]
  at::Tensor sink_means;            ///< [B,H,S], over the first `sink_queries` queries
  at::Tensor sink_rates;            ///< [B,H]
  at::Tensor logit_max, logit_min;  ///< [B,H]
  at::Tensor entropy;               ///< [B,H]
  at::Tensor first_is_top;          ///< [B,H]
};

/// q [B,H,T,d], k and v [B,Hk,S,d], any floating-point type -> everything in float64 on the CPU.
inline Attention attention(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                           const AttentionPattern& pattern,
                           int64_t sink_queries = AttentionSums{}.sink_queries) {
  const at::Tensor q = q_in.to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor k = k_in.to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor v = v_in.to(at::kCPU, at::kDouble).contiguous();
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), d = q.size(3);
  const int64_t Hk = k.size(1), S = k.size(2), dv = v.size(3);
  const double infinity = std::numeric_limits<double>::infinity();

  Attention result;
  result.output = at::zeros({B, H, T, dv}, at::kDouble);
  result.logits = at::full({B, H, T, S}, -infinity, at::kDouble);
  result.probs = at::zeros({B, H, T, S}, at::kDouble);
  result.key_sums = at::zeros({B, H, S}, at::kDouble);
  result.sink_means = at::zeros({B, H, S}, at::kDouble);
  result.sink_rates = at::zeros({B, H}, at::kDouble);
  result.entropy = at::zeros({B, H}, at::kDouble);
  result.first_is_top = at::zeros({B, H}, at::kDouble);
  result.logit_max = at::full({B, H}, -infinity, at::kDouble);
  result.logit_min = at::full({B, H}, infinity, at::kDouble);
  at::Tensor sinks, slopes;
  if (pattern.sinks.defined()) sinks = pattern.sinks.to(at::kCPU, at::kDouble).contiguous();
  if (pattern.alibi_slopes.defined()) slopes = pattern.alibi_slopes.to(at::kCPU, at::kDouble).contiguous();

  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < H; ++h) {
      const double* keys = k.const_data_ptr<double>() + (b * Hk + h / (H / Hk)) * S * d;
      const double* values = v.const_data_ptr<double>() + (b * Hk + h / (H / Hk)) * S * dv;
      double* key_sums = result.key_sums.mutable_data_ptr<double>() + (b * H + h) * S;
      double& sink_rate = result.sink_rates.mutable_data_ptr<double>()[b * H + h];
      double& logit_max = result.logit_max.mutable_data_ptr<double>()[b * H + h];
      double* sink_means = result.sink_means.mutable_data_ptr<double>() + (b * H + h) * S;
      double& entropy = result.entropy.mutable_data_ptr<double>()[b * H + h];
      double& first_is_top = result.first_is_top.mutable_data_ptr<double>()[b * H + h];
      double& logit_min = result.logit_min.mutable_data_ptr<double>()[b * H + h];
      std::vector<double> seen(static_cast<size_t>(S));
      for (int64_t i = 0; i < T; ++i) {
        const int64_t row = (b * H + h) * T + i, position = S - T + i;
        const double* query = q.const_data_ptr<double>() + row * d;
        double* logits = result.logits.mutable_data_ptr<double>() + row * S;
        double* probs = result.probs.mutable_data_ptr<double>() + row * S;
        double* output = result.output.mutable_data_ptr<double>() + row * dv;
        double largest = sinks.defined() ? sinks.const_data_ptr<double>()[h] : -infinity;
        for (int64_t j = 0; j < S; ++j) {
          if (pattern.causal && j > position) continue;
          if (pattern.window > 0 && j <= position - pattern.window) continue;
          double score = 0;
          for (int64_t c = 0; c < d; ++c) score += query[c] * keys[j * d + c];
          score *= pattern.scale;
          if (pattern.softcap > 0) score = pattern.softcap * std::tanh(score / pattern.softcap);
          if (slopes.defined()) score += slopes.const_data_ptr<double>()[h] * (j - position);
          logits[j] = score;
          logit_max = std::max(logit_max, score);
          logit_min = std::min(logit_min, score);
          largest = std::max(largest, score);
        }
        double sum = sinks.defined() ? std::exp(sinks.const_data_ptr<double>()[h] - largest) : 0.0;
        for (int64_t j = 0; j < S; ++j) sum += std::exp(logits[j] - largest);
        for (int64_t j = 0; j < S; ++j) {
          probs[j] = std::exp(logits[j] - largest) / sum;
          key_sums[j] += probs[j];
          for (int64_t c = 0; c < dv; ++c) output[c] += probs[j] * values[j * dv + c];
          if (i < sink_queries && logits[j] > -infinity) {
            sink_means[j] += probs[j];
            ++seen[static_cast<size_t>(j)];
          }
          if (probs[j] > 0) entropy -= probs[j] * std::log(probs[j]) / static_cast<double>(T);
        }
        if (i < sink_queries) sink_rate += probs[0] / static_cast<double>(std::min(T, sink_queries));
        if (i > 0 && *std::max_element(logits, logits + S) == logits[0])
          first_is_top += 1.0 / static_cast<double>(T - 1);
      }
      for (int64_t j = 0; j < S; ++j) sink_means[j] /= std::max(1.0, seen[static_cast<size_t>(j)]);
    }
  }
  return result;
}

}  // namespace outliers::ops::reference
