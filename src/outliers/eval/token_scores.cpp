#include "outliers/eval/token_scores.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>

#include "outliers/run/layer_weights.h"
#include "outliers/run/memory_plan.h"

namespace outliers::eval {

at::Tensor log_sum_exp(const at::Tensor& x) {
  at::Tensor largest = x.amax(1, /*keepdim=*/true);
  largest = largest.masked_fill(largest.isinf(), 0);
  const at::Tensor sum = (x - largest).exp_().sum(1);
  return sum.to(at::kDouble).log_().add_(largest.squeeze(1));
}

TokenScores::TokenScores(Windows::Scored scored, int64_t vocabulary, run::ProgressObserver* progress)
    : scored_(std::move(scored)),
      vocabulary_(vocabulary),
      progress_(progress),
      lse_(at::full({scored_.targets.numel()}, -std::numeric_limits<double>::infinity(), at::kDouble)),
      target_(at::zeros_like(lse_)) {}

at::Tensor TokenScores::places(size_t) const {
  return scored_.places;
}

void TokenScores::on_logits(size_t, int64_t first, int64_t first_id, const at::Tensor& logits) {
  const int64_t m = logits.size(0), v = logits.size(1);
  lse_ = lse_.to(logits.device());
  target_ = target_.to(logits.device());
  const at::Tensor x = logits.to(run::wide_type(logits.scalar_type()));
  at::Tensor lse = lse_.narrow(0, first, m), target = target_.narrow(0, first, m);
  lse.copy_(at::logaddexp(lse, eval::log_sum_exp(x)));
  const at::Tensor place = scored_.targets.narrow(0, first, m).to(x.device()) - first_id;
  const at::Tensor value = x.gather(1, place.clamp(0, v - 1).unsqueeze(1)).squeeze(1).to(at::kDouble);
  target.copy_(at::where(place.ge(0).logical_and(place.lt(v)), value, target));
  if (progress_ != nullptr)
    progress_->pass(static_cast<double>(m) * static_cast<double>(v) / static_cast<double>(vocabulary_));
}

run::ObserverMemory TokenScores::memory(const std::vector<run::Input>&, at::ScalarType dtype,
                                        int64_t chunk_tokens) const {
  const auto wide = static_cast<int64_t>(c10::elementSize(run::wide_type(dtype)));
  const int64_t n = scored_.targets.numel(), block = std::min({n, chunk_tokens, run::kLogitTokens}),
                rows = std::min(vocabulary_, run::kVocabularyRows);
  // Places, targets and two sums; of a block its wide copy, and the exponentials.
  return {.held = static_cast<uint64_t>(n * 4 * 8 + block * rows * wide * 3)};
}

at::Tensor TokenScores::nll_nats() const {
  return (lse_ - target_).cpu();
}

}  // namespace outliers::eval
