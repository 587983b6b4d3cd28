#include "outliers/eval/branch_scores.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>

#include "outliers/run/layer_weights.h"
#include "outliers/run/memory_plan.h"

namespace outliers::eval {

BranchScores::BranchScores(const Windows::Scored& scored, int64_t vocabulary, size_t inputs,
                           run::ProgressObserver* progress)
    : scored_(scored), vocabulary_(vocabulary) {
  for (size_t i = 0; i < inputs; ++i)
    sums_.push_back({TokenScores(scored, vocabulary, progress), {}, {}, {}});
}

at::Tensor BranchScores::places(size_t) const {
  return scored_.places;
}

void BranchScores::on_logits(size_t input, int64_t first, int64_t first_id, const at::Tensor& logits) {
  Sums& sums = sums_[input];
  const int64_t m = logits.size(0), n = scored_.targets.numel();
  if (!sums.best.defined()) {
    const auto options = at::dtype(at::kDouble).device(logits.device());
    sums.best = at::full({n}, -std::numeric_limits<double>::infinity(), options);
    sums.best_id = at::full({n}, -1, options.dtype(at::kLong));
    sums.difference = at::zeros({n}, options);
  }
  const at::Tensor x = logits.to(run::wide_type(logits.scalar_type()));
  const auto [value, place] = x.max(1);
  at::Tensor best = sums.best.narrow(0, first, m), best_id = sums.best_id.narrow(0, first, m);
  const at::Tensor larger = value.gt(best);
  best_id.copy_(at::where(larger, place + first_id, best_id));
  best.copy_(at::where(larger, value.to(at::kDouble), best));
  if (input == 0) {
    const at::Tensor before = sums.scores.log_sum_exp(first, m);
    sums.scores.on_logits(0, first, first_id, logits);
    const at::Tensor after = sums.scores.log_sum_exp(first, m);
    plain_ = {x, x.softmax(1), (before.to(after.device()) - after).exp_(), (log_sum_exp(x) - after).exp_()};
    return;
  }
  sums.scores.on_logits(input, first, first_id, logits);
  const at::Tensor here = (plain_.logits - x).mul_(plain_.probabilities).sum(1).to(at::kDouble);
  at::Tensor difference = sums.difference.narrow(0, first, m);
  difference.mul_(plain_.share_before).add_(here.mul_(plain_.share));
}

run::ObserverMemory BranchScores::memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                                         int64_t chunk_tokens) const {
  const auto wide = static_cast<uint64_t>(c10::elementSize(run::wide_type(dtype)));
  const int64_t n = scored_.targets.numel();
  const auto block = static_cast<uint64_t>(std::min({n, chunk_tokens, run::kLogitTokens}) *
                                           std::min(vocabulary_, run::kVocabularyRows));
  const uint64_t one = sums_.front().scores.memory(inputs, dtype, chunk_tokens).held;
  // Three sums more of each input; of a block the plain run's logits and probabilities, and the difference.
  return {.held = one + (static_cast<uint64_t>(n) * 5 * 8) * sums_.size() + 4 * block * wide};
}

at::Tensor BranchScores::kl_nats(size_t input) const {
  const int64_t n = scored_.targets.numel();
  const at::Tensor kl = sums_[input].difference - sums_.front().scores.log_sum_exp(0, n) +
                        sums_[input].scores.log_sum_exp(0, n);
  return kl.cpu();
}

at::Tensor BranchScores::same_top1(size_t input) const {
  return sums_[input].best_id.eq(sums_.front().best_id).cpu();
}

}  // namespace outliers::eval
