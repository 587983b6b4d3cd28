#include "outliers/studies/branch_sums.h"

#include <ATen/ATen.h>

#include "outliers/eval/branch_scores.h"
#include "outliers/eval/evaluation.h"
#include "outliers/run/progress_observer.h"
#include "outliers/run/runner.h"

namespace outliers::studies {

BranchSums sum_branches(const models::Model& model, const eval::Windows& windows,
                        std::pair<int64_t, int64_t> part, const std::vector<run::Input>& inputs,
                        std::vector<run::Observer*> observers, const char* what, run::RunOptions options,
                        Ranks* ranks, run::RunTimes& times) {
  const auto [first, last] = part;
  const models::Config& config = model.config();
  run::ProgressObserver progress(what, config.layers + 1, inputs, ranks == nullptr || ranks->is_root());
  eval::BranchScores scores(windows.scored(first, last), config.vocabulary, inputs.size(), &progress);
  observers.insert(observers.begin(), &scores);
  observers.push_back(&progress);
  options.logits = true;
  options.logit_blocks = &scores;
  options.ranks = ranks;
  times += run::forward(model, inputs, observers, options);
  BranchSums sums;
  const auto of_windows = [&](const at::Tensor& of_tokens) {
    return eval::gathered(eval::window_sums(windows, first, last, of_tokens), ranks);
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    sums.nll_nats.push_back(of_windows(scores.nll_nats(i)));
    sums.kl_nats.push_back(of_windows(scores.kl_nats(i)));
    sums.same_top1.push_back(of_windows(scores.same_top1(i).to(at::kDouble)));
  }
  return sums;
}

}  // namespace outliers::studies
