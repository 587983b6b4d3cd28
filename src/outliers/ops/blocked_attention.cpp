// Attention block by block from ATen operations; see the header for its place.
#include "outliers/ops/blocked_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace outliers::ops::detail {

namespace {

/// Scores of one block stay below this, whatever B and H are.
constexpr int64_t kBlockBytes = int64_t{64} << 20;

/// [B,H,t,x] -> [B,Hk,H/Hk*t,x], so that grouped heads meet their key head in one matrix product.
at::Tensor group_heads(const at::Tensor& x, int64_t Hk) {
  return x.reshape({x.size(0), Hk, x.size(1) / Hk * x.size(2), x.size(3)});
}

}  // namespace

KeyRange visible_keys(int64_t first, int64_t last, int64_t T, int64_t S, const AttentionPattern& pattern) {
  KeyRange range{0, S};
  if (pattern.causal) range.end = S - T + last;
  if (pattern.window > 0) range.begin = std::max<int64_t>(0, S - T + first - pattern.window + 1);
  return range;
}

at::ScalarType score_type(at::ScalarType input) {
  return input == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor masked_scores(const at::Tensor& q, const at::Tensor& k, const AttentionPattern& pattern,
                         int64_t first, int64_t T, int64_t begin, int64_t S) {
  const int64_t B = q.size(0), H = q.size(1), t = q.size(2), n = k.size(2);
  at::Tensor scores =
      at::matmul(group_heads(q, k.size(1)), k.transpose(-2, -1)).reshape({B, H, t, n}) * pattern.scale;
  if (pattern.softcap > 0) scores = at::tanh(scores / pattern.softcap) * pattern.softcap;
  if (!pattern.causal && !pattern.alibi_slopes.defined()) return scores;

  // distance [t,n]: key position minus query position.
  const auto positions = at::TensorOptions().dtype(at::kLong).device(q.device());
  const at::Tensor distance = at::arange(begin, begin + n, positions).unsqueeze(0) -
                              at::arange(S - T + first, S - T + first + t, positions).unsqueeze(1);
  if (pattern.alibi_slopes.defined()) {
    scores = scores + pattern.alibi_slopes.to(q.device(), scores.scalar_type()).view({H, 1, 1}) * distance;
  }
  if (pattern.causal) {
    at::Tensor hidden = distance > 0;
    if (pattern.window > 0) hidden.bitwise_or_(distance <= -pattern.window);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return scores;
}

Extremes extremes(const at::Tensor& scores) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const at::Tensor unknown = scores != scores;  // isnan() takes no meta tensors
  const at::Tensor largest = scores.masked_fill(unknown, -kInfinity).amax({2, 3});
  const at::Tensor masked = scores == -kInfinity;
  return {scores.masked_fill(masked.bitwise_or(unknown), kInfinity).amin({2, 3}), largest};
}

at::Tensor entropies(const at::Tensor& probs) {
  return at::special_entr(probs).sum(3);
}

at::Tensor first_is_top(const at::Tensor& scores) {
  return (scores.select(3, 0) >= scores.amax(3)).to(scores.scalar_type());
}

at::Tensor probabilities(const at::Tensor& scores, const AttentionPattern& pattern) {
  if (!pattern.sinks.defined()) return at::softmax(scores, -1);
  const at::Tensor sinks = pattern.sinks.to(scores.device(), scores.scalar_type())
                               .view({1, scores.size(1), 1, 1})
                               .expand({scores.size(0), scores.size(1), scores.size(2), 1});
  return at::softmax(at::cat({scores, sinks}, -1), -1).slice(-1, 0, scores.size(-1));
}

at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttentionPattern& pattern, AttentionSums* sums) {
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), S = k.size(2);
  const at::ScalarType type = score_type(q.scalar_type());
  const at::Tensor keys = k.to(type), values = v.to(type);
  if (sums) {
    sums->key_sums = at::zeros({B, H, S}, q.options().dtype(type));
    sums->entropy = at::zeros({B, H}, q.options().dtype(type));
    sums->first_is_top = at::zeros({B, H}, q.options().dtype(type));
    sums->logit_max = at::full({B, H}, -std::numeric_limits<double>::infinity(), q.options().dtype(type));
    sums->logit_min = -sums->logit_max;
  }
  const int64_t row_bytes = std::max<int64_t>(1, B * H * S * static_cast<int64_t>(c10::elementSize(type)));
  const int64_t block = std::clamp<int64_t>(kBlockBytes / row_bytes, 1, 512);
  const int64_t sink_queries = sums ? std::min(T, sums->sink_queries) : 0;
  if (sums) {
    const int64_t sink_keys = visible_keys(0, sink_queries, T, S, pattern).end;
    sums->sink_means = at::zeros({B, H, sink_keys}, q.options().dtype(type));
  }

  std::vector<at::Tensor> outputs;
  for (int64_t first = 0; first < T; first += block) {
    const int64_t last = std::min(T, first + block);
    const KeyRange range = visible_keys(first, last, T, S, pattern);
    const at::Tensor visible = keys.slice(2, range.begin, range.end);
    const at::Tensor scores =
        masked_scores(q.slice(2, first, last).to(type), visible, pattern, first, T, range.begin, S);
    const at::Tensor probs = probabilities(scores, pattern);
    if (sums) {
      const at::NoGradGuard no_grad;
      const auto [smallest, largest] = extremes(scores);
      sums->logit_max = at::maximum(sums->logit_max, largest);
      sums->logit_min = at::minimum(sums->logit_min, smallest);
      sums->key_sums.slice(2, range.begin, range.end).add_(probs.sum(2));
      if (first < sink_queries) {
        const int64_t end = std::min(range.end, sums->sink_means.size(2));
        sums->sink_means.slice(2, range.begin, end)
            .add_(probs.slice(2, 0, sink_queries - first).slice(3, 0, end - range.begin).sum(2));
      }
      sums->entropy.add_(entropies(probs).sum(2), 1.0 / static_cast<double>(T));
      if (range.begin == 0 && T > 1) {
        sums->first_is_top.add_(first_is_top(scores).slice(2, first == 0 ? 1 : 0).sum(2),
                                1.0 / static_cast<double>(T - 1));
      }
    }
    outputs.push_back(at::matmul(group_heads(probs, k.size(1)), values.slice(2, range.begin, range.end))
                          .reshape({B, H, last - first, v.size(3)})
                          .to(q.scalar_type()));
  }
  if (outputs.empty()) return at::zeros({B, H, T, v.size(3)}, q.options());
  return at::cat(outputs, 2);
}

}  // namespace outliers::ops::detail
