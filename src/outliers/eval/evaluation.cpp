#include "outliers/eval/evaluation.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/core/error.h"
#include "outliers/run/describe.h"

namespace outliers::eval {

run::RunOptions run_options(const EvaluationOptions& options) {
  run::RunOptions run;
  run.dtype = options.dtype;
  run.device = options.device;
  run.memory_limit = options.memory_limit;
  run.spill_directory = options.spill_directory;
  run.logits = true;
  return run;
}

results::EvaluationRun describe_run(const EvaluationOptions& options, const run::RunTimes& times,
                                    double report_seconds) {
  results::EvaluationRun run;
  static_cast<results::Program&>(run) = run::describe_program(options.dtype, options.device);
  static_cast<results::Cost&>(run) = run::describe_cost(times, options.memory_limit, options.device);
  if (options.windows.ranks != nullptr) run.ranks = options.windows.ranks->size();
  run.seconds = {times.load_seconds, times.forward_seconds, times.observer_seconds, report_seconds};
  return run;
}

std::pair<int64_t, int64_t> part_of(const Windows& windows, const Ranks* ranks) {
  const int64_t N = windows.ids.size(0);
  if (ranks == nullptr) return {0, N};
  require(N >= ranks->size(), Cause{ErrorKind::argument, {Setting::sequences}},
          "{} sequences cannot be split over {} ranks; ask for more", N, ranks->size());
  return ranks->part(N);
}

std::vector<double> window_sums(const Windows& windows, int64_t first, int64_t last,
                                const at::Tensor& per_token) {
  std::vector<double> sums;
  int64_t place = 0;
  for (int64_t w = first; w < last; ++w) {
    const int64_t count = windows.windows[static_cast<size_t>(w)].scored;
    sums.push_back(per_token.narrow(0, place, count).sum().item<double>());
    place += count;
  }
  return sums;
}

std::vector<double> gathered(std::vector<double> mine, Ranks* ranks) {
  if (ranks == nullptr) return mine;
  ByteWriter out;
  out.put(mine);
  std::vector<double> all;
  for (const std::string& bytes : ranks->gather(out.bytes())) {
    for (const double number : ByteReader(bytes).get_vector<double>()) all.push_back(number);
  }
  return all;
}

Mean mean_of(const std::vector<double>& sums, const std::vector<int64_t>& tokens) {
  double sum = 0, count = 0, squares = 0;
  for (size_t w = 0; w < sums.size(); ++w) {
    sum += sums[w];
    count += static_cast<double>(tokens[w]);
  }
  Mean mean{sum / count, {}};
  if (sums.size() < 2) return mean;
  for (size_t w = 0; w < sums.size(); ++w) {
    const double off = sums[w] - mean.mean * static_cast<double>(tokens[w]);
    squares += off * off;
  }
  const auto N = static_cast<double>(sums.size());
  mean.standard_error = std::sqrt(N / (N - 1) * squares) / count;
  return mean;
}

Mean mean_of(const Windows& windows, const std::vector<double>& sums) {
  std::vector<int64_t> tokens;
  for (const Window& window : windows.windows) tokens.push_back(window.scored);
  return mean_of(sums, tokens);
}

std::vector<results::WindowScore> window_scores(const Windows& windows, const std::vector<double>& nll_nats) {
  std::vector<results::WindowScore> scores;
  for (size_t w = 0; w < nll_nats.size(); ++w) {
    const Window& window = windows.windows[w];
    scores.push_back({static_cast<int64_t>(w), window.first_token, window.scored, window.scored_bytes,
                      nll_nats[w] / static_cast<double>(window.scored)});
  }
  return scores;
}

results::Score score_of(const std::vector<results::WindowScore>& windows) {
  std::vector<double> sums;
  std::vector<int64_t> tokens;
  double nats = 0, bytes = 0;
  for (const results::WindowScore& window : windows) {
    sums.push_back(window.nll_nats * static_cast<double>(window.tokens_scored));
    tokens.push_back(window.tokens_scored);
    nats += sums.back();
    bytes += static_cast<double>(window.bytes_scored);
  }
  const Mean mean = mean_of(sums, tokens);
  results::Score score{mean.mean, mean.standard_error, std::exp(mean.mean), {}};
  if (bytes > 0) score.bits_per_byte = nats / (std::numbers::ln2 * bytes);
  return score;
}

void check_finite(const std::vector<results::WindowScore>& windows, const run::FiniteWatch& watch) {
  for (const results::WindowScore& window : windows) {
    if (std::isfinite(window.nll_nats)) continue;
    const Cause cause{ErrorKind::argument, {Setting::dtype}};
    const auto& first = watch.first();
    require(first.has_value(), cause,
            "the logits of window {} are not finite, though all that enters the head is; compute in float32",
            window.window);
    fail(cause,
         "the logits of window {} are not finite: the first value that is not is {} at {}, window {}, token "
         "{}, channel {}; compute in float32, or look for it with outliers report",
         window.window,
         std::isnan(first->value) ? "NaN"
         : first->value > 0       ? "Inf"
                                  : "-Inf",
         run::site_name(first->site), first->sequence, first->token, first->channel);
  }
}

}  // namespace outliers::eval
