// What evaluations have in common: options, the ranks' parts, and means over windows with their errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/ranks.h"
#include "outliers/eval/windows.h"
#include "outliers/results/perplexity.h"
#include "outliers/run/finite_watch.h"
#include "outliers/run/options.h"

namespace outliers::eval {

struct EvaluationOptions {
  WindowOptions windows;  ///< with the ranks
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  uint64_t memory_limit = 0;  ///< as in run::RunOptions, of this process
  std::filesystem::path spill_directory;
};

/// A run that computes logits.
run::RunOptions run_options(const EvaluationOptions& options);
/// How the run went. report_seconds: what came after it.
results::EvaluationRun describe_run(const EvaluationOptions& options, const run::RunTimes& times,
                                    double report_seconds);

/// This rank's windows [first, last); all without ranks. Throws for fewer windows than ranks.
std::pair<int64_t, int64_t> part_of(const Windows& windows, const Ranks* ranks);
/// Sums over the scored tokens of each of windows [first, last); per_token: [n], in their order.
std::vector<double> window_sums(const Windows& windows, int64_t first, int64_t last,
                                const at::Tensor& per_token);
/// All ranks' numbers on rank 0, in the order of windows; nothing on the others.
std::vector<double> gathered(std::vector<double> mine, Ranks* ranks);

/// Mean over tokens and its standard error over windows (docs/perplexity.md), which one window has none of.
struct Mean {
  double mean = 0;
  std::optional<double> standard_error;
};
/// sums and tokens: of each window.
Mean mean_of(const std::vector<double>& sums, const std::vector<int64_t>& tokens);
/// The same of scored tokens.
Mean mean_of(const Windows& windows, const std::vector<double>& sums);

/// nll_nats: each window's sum.
std::vector<results::WindowScore> window_scores(const Windows& windows, const std::vector<double>& nll_nats);
results::Score score_of(const std::vector<results::WindowScore>& windows);

/// Throws where a window's nll is not finite, and names the first such value of the run.
void check_finite(const std::vector<results::WindowScore>& windows, const run::FiniteWatch& watch);

}  // namespace outliers::eval
