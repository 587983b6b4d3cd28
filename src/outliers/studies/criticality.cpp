#include "outliers/studies/criticality.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "outliers/core/error.h"
#include "outliers/eval/evaluation.h"
#include "outliers/studies/branch_sums.h"
#include "outliers/studies/super_weights.h"

namespace outliers::studies {
namespace {

constexpr int64_t kControls = 20;
/// Branches of one evaluation: hidden states of all are held at a time.
constexpr size_t kAtOnce = 63;

/// The sequences as windows that score all but their first token.
eval::Windows windows_of(const at::Tensor& ids) {
  eval::Windows windows;
  windows.ids = ids;
  windows.windows.assign(static_cast<size_t>(ids.size(0)), {0, ids.size(1) - 1, 0});
  return windows;
}

std::vector<run::Edit> edits_of(const std::vector<results::SuperWeight>& weights, size_t first, size_t last,
                                int64_t control) {
  std::vector<run::Edit> edits;
  for (size_t i = first; i < last; ++i) {
    run::Edit& edit = edits.emplace_back(site_of(weights[i]));
    if (control > 0) edit.selection.random = i * kControls + static_cast<uint64_t>(control);
  }
  return edits;
}

/// nll of the plain run, and of each branch what it is more.
struct Nll {
  eval::Mean plain;
  std::vector<eval::Mean> more;
};

Nll evaluate(const models::Model& model, const run::Input& corpus, const eval::Windows& windows,
             int64_t first, const std::vector<std::vector<run::Edit>>& branches,
             const run::RunOptions& options, Ranks* ranks, run::RunTimes& times) {
  Nll nll;
  for (size_t begin = 0; begin < branches.size(); begin += kAtOnce) {
    std::vector<run::Input> inputs = {{corpus.name, corpus.ids}};
    if (ranks != nullptr) inputs.front().part_begin = first;
    for (size_t b = begin; b < std::min(begin + kAtOnce, branches.size()); ++b) {
      run::Input& input = inputs.emplace_back(run::Input{fmt::format("{}", b)});
      input.parent = 0;
      input.edits = branches[b];
    }
    const BranchSums sums = sum_branches(model, windows, {first, first + corpus.ids.size(0)}, inputs, {},
                                         "criticality", options, ranks, times);
    if (sums.nll_nats.front().empty()) continue;  // another rank has them
    nll.plain = eval::mean_of(windows, sums.nll_nats.front());
    for (size_t i = 1; i < inputs.size(); ++i) {
      std::vector<double> differences = sums.nll_nats[i];
      for (size_t w = 0; w < differences.size(); ++w) differences[w] -= sums.nll_nats.front()[w];
      nll.more.push_back(eval::mean_of(windows, differences));
    }
  }
  return nll;
}

results::Damage damage_of(const std::vector<eval::Mean>& more, size_t first, int64_t first_seed) {
  results::Damage damage;
  damage.log10_ppl_ratio = more[first].mean / std::numbers::ln10;
  if (more[first].standard_error) damage.standard_error = *more[first].standard_error / std::numbers::ln10;
  for (int64_t c = 0; c < kControls; ++c)
    damage.controls.push_back(
        {first_seed + c, more[first + 1 + static_cast<size_t>(c)].mean / std::numbers::ln10});
  return damage;
}

}  // namespace

results::Criticality measure_criticality(const models::Model& model, const run::Input& corpus,
                                         const measures::Input& measured,
                                         const results::SuperWeights& weights, const run::RunOptions& options,
                                         Ranks* ranks, run::RunTimes& times) {
  const std::vector<results::SuperWeight>& found = weights.found;
  std::vector<std::vector<run::Edit>> branches;
  for (size_t i = 0; i < found.size(); ++i)
    for (int64_t control = 0; control <= kControls; ++control)
      branches.push_back(edits_of(found, i, i + 1, control));
  for (int64_t control = 0; found.size() > 1 && control <= kControls; ++control)
    branches.push_back(edits_of(found, 0, found.size(), control));

  const eval::Windows windows = windows_of(measured.ids);
  const Nll nll = evaluate(model, corpus, windows, measured.first_sequence, branches, options, ranks, times);
  results::Criticality result;
  if (ranks != nullptr && !ranks->is_root()) return result;
  result.input = corpus.name;
  for (const eval::Window& window : windows.windows) result.tokens_scored += window.scored;
  result.nll_nats = nll.plain.mean;
  result.ppl = std::exp(nll.plain.mean);
  constexpr size_t kEach = kControls + 1;
  for (size_t i = 0; i < found.size(); ++i)
    result.weights.push_back(damage_of(nll.more, i * kEach, static_cast<int64_t>(i) * kControls + 1));
  if (found.size() > 1) result.together = damage_of(nll.more, found.size() * kEach, 1);
  return result;
}

}  // namespace outliers::studies
