// The public edge of attention: checks what comes in and picks the kernel.
#include "outliers/ops/attention.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "outliers/core/shape.h"
#include "outliers/ops/blocked_attention.h"
#include "outliers/ops/cpu/attention.h"
#include "outliers/ops/error.h"
#ifdef OUTLIERS_CUDA
#include "outliers/ops/cuda/attention.h"
#endif

namespace outliers::ops {

namespace {

void check_pattern(const char* function, const AttentionPattern& pattern, int64_t H, int64_t T, int64_t S) {
  require(std::isfinite(pattern.scale), "{}: the scale is {}, but must be finite", function, pattern.scale);
  require(std::isfinite(pattern.softcap) && pattern.softcap >= 0,
          "{}: the soft-cap is {}, but must be 0 (off) or positive", function, pattern.softcap);
  require(pattern.window >= 0, "{}: the window is {}, but must be 0 (off) or positive", function,
          pattern.window);
  require(pattern.causal || pattern.window == 0, "{}: a sliding window needs causal attention", function);
  require(!pattern.causal || S >= T, "{}: causal attention of {} queries needs at least as many keys, got {}",
          function, T, S);
  if (pattern.sinks.defined()) check_shape(pattern.sinks, function, "sinks", {H});
  if (pattern.alibi_slopes.defined()) check_shape(pattern.alibi_slopes, function, "alibi_slopes", {H});
}

void check_queries_and_keys(const char* function, const at::Tensor& q, const at::Tensor& k) {
  check_shape(q, function, "q", {-1, -1, -1, -1});
  check_shape(k, function, "k", {q.size(0), -1, -1, q.size(3)});
  require(k.size(1) > 0 && q.size(1) % k.size(1) == 0,
          "{}: {} query heads are not a multiple of {} key heads", function, q.size(1), k.size(1));
  require(k.size(2) > 0, "{}: there are no keys to attend to", function);
  require(at::isFloatingType(q.scalar_type()) && q.scalar_type() == k.scalar_type(),
          "{}: q is {} and k is {}, but both must be of one floating-point type", function,
          toString(q.scalar_type()), toString(k.scalar_type()));
}

bool needs_gradient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttentionPattern& pattern) {
  return at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad() ||
                                        (pattern.sinks.defined() && pattern.sinks.requires_grad()));
}

/// Whether PyTorch's own operator computes it.
bool is_plain(const AttentionPattern& pattern) {
  return pattern.window == 0 && pattern.softcap == 0 && !pattern.sinks.defined() &&
         !pattern.alibi_slopes.defined();
}

}  // namespace

namespace {

at::Tensor choose_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const AttentionPattern& pattern, AttentionSums* sums) {
  const bool gradient = needs_gradient(q, k, v, pattern);
  const bool on_cpu = q.is_cpu() || q.is_meta();
  if (!gradient && on_cpu && q.scalar_type() != at::kDouble) {
    return cpu::attention(q, k, v, pattern, sums);
  }
  if (!sums && !q.is_meta() && is_plain(pattern) && (!pattern.causal || q.size(2) == k.size(2))) {
    return at::scaled_dot_product_attention(q, k, v, std::nullopt, 0.0, pattern.causal, pattern.scale,
                                            q.size(1) != k.size(1));
  }
#ifdef OUTLIERS_CUDA
  if (!gradient && q.device().is_cuda()) {
    if (std::optional<at::Tensor> output = cuda::attention(q, k, v, pattern, sums)) return *output;
  }
#endif
  return detail::blocked_attention(q, k, v, pattern, sums);
}

/// sink_means were sums; of T queries and S keys.
void finish_sinks(AttentionSums& sums, const AttentionPattern& pattern, int64_t T, int64_t S) {
  const int64_t queries = std::max<int64_t>(1, std::min(T, sums.sink_queries));
  sums.sink_rates = sums.sink_means.select(2, 0) / static_cast<double>(queries);
  // Query i stands at position S - T + i.
  const at::Tensor at_query =
      at::arange(sums.sink_means.size(2), sums.sink_means.options().dtype(at::kLong)) - (S - T);
  at::Tensor seen = at::full_like(at_query, queries);
  if (pattern.window > 0) seen = (at_query + pattern.window).clamp_max(queries);
  if (pattern.causal) seen = seen - at_query.clamp_min(0);
  sums.sink_means = sums.sink_means / seen.clamp_min(1);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionPattern& pattern, AttentionSums* sums) {
  check_queries_and_keys("attention", q, k);
  check_shape(v, "attention", "v", {k.size(0), k.size(1), k.size(2), -1});
  require(v.scalar_type() == k.scalar_type(), "attention: k is {} and v is {}, but both must be of one type",
          toString(k.scalar_type()), toString(v.scalar_type()));
  check_pattern("attention", pattern, q.size(1), q.size(2), k.size(2));
  require(sums == nullptr || sums->sink_queries > 0,
          "attention: sinks are measured over {} queries, but must be over some",
          sums == nullptr ? 0 : sums->sink_queries);
  at::Tensor output = choose_kernel(q, k, v, pattern, sums);
  if (sums != nullptr) {
    const at::NoGradGuard no_grad;
    finish_sinks(*sums, pattern, q.size(2), k.size(2));
  }
  return output;
}

AttentionMaps attention_maps(const at::Tensor& q, const at::Tensor& k, const AttentionPattern& pattern) {
  check_queries_and_keys("attention_maps", q, k);
  check_pattern("attention_maps", pattern, q.size(1), q.size(2), k.size(2));
  const at::ScalarType type = detail::score_type(q.scalar_type());
  AttentionMaps maps;
  maps.logits = detail::masked_scores(q.to(type), k.to(type), pattern, 0, q.size(2), 0, k.size(2));
  maps.probs = detail::probabilities(maps.logits, pattern);
  return maps;
}

at::Tensor attention_probs(const at::Tensor& logits, const AttentionPattern& pattern) {
  check_shape(logits, "attention_probs", "logits", {-1, -1, -1, -1});
  return detail::probabilities(logits, pattern);
}

at::Tensor attend(const at::Tensor& probs, const at::Tensor& v) {
  check_shape(probs, "attend", "probs", {-1, -1, -1, -1});
  check_shape(v, "attend", "v", {probs.size(0), -1, probs.size(3), -1});
  const int64_t B = probs.size(0), H = probs.size(1), T = probs.size(2), Hk = v.size(1);
  require(Hk > 0 && H % Hk == 0, "attend: {} query heads are not a multiple of {} value heads", H, Hk);
  return at::matmul(probs.reshape({B, Hk, H / Hk * T, -1}), v.to(probs.scalar_type()))
      .reshape({B, H, T, v.size(3)})
      .to(v.scalar_type());
}

void attention_sums(const at::Tensor& logits, const at::Tensor& probs, const AttentionPattern& pattern,
                    AttentionSums& sums) {
  check_shape(probs, "attention_sums", "probs", {-1, -1, -1, -1});
  check_shape(logits, "attention_sums", "logits",
              {probs.size(0), probs.size(1), probs.size(2), probs.size(3)});
  const auto [smallest, largest] = detail::extremes(logits);
  sums.key_sums = probs.sum(2);
  const int64_t T = probs.size(2), S = probs.size(3), queries = std::min(T, sums.sink_queries);
  sums.sink_means =
      probs.narrow(2, 0, queries).narrow(3, 0, detail::visible_keys(0, queries, T, S, pattern).end).sum(2);
  finish_sinks(sums, pattern, T, S);
  sums.logit_max = largest;
  sums.logit_min = smallest;
  sums.entropy = detail::entropies(probs).mean(2);
  sums.first_is_top = detail::first_is_top(logits).slice(2, 1).sum(2) /
                      static_cast<double>(std::max<int64_t>(1, probs.size(2) - 1));
}

}  // namespace outliers::ops
