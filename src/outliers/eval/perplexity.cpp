#include "outliers/eval/perplexity.h"

#include <chrono>

#include <ATen/ATen.h>

#include "outliers/eval/token_scores.h"
#include "outliers/models/describe.h"
#include "outliers/run/runner.h"

namespace outliers::eval {

results::Perplexity perplexity(const models::Model& model, const EvaluationOptions& options) {
  const models::Config& config = model.config();
  Ranks* ranks = options.windows.ranks;
  const Windows windows = cut_windows(model, options.windows);
  const auto [first, last] = part_of(windows, ranks);
  const bool is_root = ranks == nullptr || ranks->is_root();
  const std::vector<run::Input> inputs = {{"corpus", windows.ids.slice(0, first, last)}};
  run::FiniteWatch finite({first});
  run::RunTimes times;
  std::vector<double> sums;
  {
    run::ProgressObserver progress("scoring", config.layers + 1, inputs, is_root);
    TokenScores scores(windows.scored(first, last), config.vocabulary, &progress);
    run::RunOptions run = run_options(options);
    run.logit_blocks = &scores;
    times = run::forward(model, inputs, {&scores, &finite, &progress}, run);
    sums = window_sums(windows, first, last, scores.nll_nats());
  }

  const auto begin = std::chrono::steady_clock::now();
  sums = gathered(std::move(sums), ranks);
  if (ranks != nullptr) finite.merge(*ranks);
  results::Perplexity result;
  if (!is_root) return result;
  result.per_window = window_scores(windows, sums);
  check_finite(result.per_window, finite);
  static_cast<results::Score&>(result) = score_of(result.per_window);
  result.model = models::describe(model);
  result.text = windows.text;
  const std::chrono::duration<double> report = std::chrono::steady_clock::now() - begin;
  result.run = describe_run(options, times, report.count());
  return result;
}

}  // namespace outliers::eval
