#include "outliers/studies/intervention.h"

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/measures/measure_set.h"
#include "outliers/measures/residual_state.h"
#include "outliers/models/describe.h"
#include "outliers/run/finite_watch.h"
#include "outliers/studies/branch_sums.h"
#include "outliers/studies/super_weights.h"
#include "outliers/text/token_class.h"

namespace outliers::studies {
namespace {

/// A branch, beside the input that runs it.
struct Branch {
  std::string name, control_of;
  int64_t seed = 0;  ///< of controls
};

/// The plain run and its branches: the inputs' names are the runs'.
struct Runs {
  std::vector<run::Input> inputs;
  std::vector<Branch> branches;  ///< of inputs 1, 2, ...
};

/// What --edit names beside run::parse_edits(): the super weights of the model, with an operation.
constexpr std::string_view kSuperWeights = "super_weights=";

/// The edits of a branch, where `super weights` is found once, when it is first asked for.
class EditReader {
 public:
  /// Adds to `times`.
  EditReader(const models::Model& model, const eval::EvaluationOptions& options, const at::Tensor& ids,
             run::RunTimes& times)
      : model_(model), options_(options), ids_(ids), times_(times) {}

  std::vector<run::Edit> operator()(const std::string& text) {
    std::vector<run::Edit> edits;
    std::string others;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(';', begin), text.size());
      std::string part = text.substr(begin, end - begin);
      const size_t first = part.find_first_not_of(" \t\n");
      if (first != std::string::npos && part.compare(first, kSuperWeights.size(), kSuperWeights) == 0) {
        for (run::Edit& edit : of_super_weights(part.substr(first + kSuperWeights.size())))
          edits.push_back(std::move(edit));
      } else {
        others += (others.empty() ? "" : ";") + part;
      }
      begin = end + 1;
    }
    if (!others.empty()) {
      for (run::Edit& edit : run::parse_edits(others, model_.config())) edits.push_back(std::move(edit));
    }
    for (const run::Edit& edit : edits) {
      const auto* site = std::get_if<run::Site>(&edit.site);
      require(site == nullptr || site->point != run::Point::logits, Cause{ErrorKind::argument},
              "edit '{}' is of the logits, which an evaluation sees by blocks only; edit final_norm_out",
              run::edits_name({edit}));
    }
    return edits;
  }

 private:
  std::vector<run::Edit> of_super_weights(const std::string& operation) {
    if (!found_) {
      const Ranks* ranks = options_.windows.ranks;
      found_ = find_super_weights(model_, {"text", ids_}, eval::run_options(options_), {}, times_,
                                  ranks != nullptr && !ranks->is_root())
                   .found;
    }
    require(
        !found_->empty(), Cause{ErrorKind::argument},
        "the model has no super weights: no down projection gives more than {} on the text's first tokens",
        Criteria{}.super_weight_spike);
    std::vector<run::Edit> edits;
    for (const results::SuperWeight& weight : *found_) {
      // Read like any other, so that an operation is said to be wrong in the same words.
      const std::string site = run::edits_name({site_of(weight)});
      for (run::Edit& edit :
           run::parse_edits(site.substr(0, site.rfind('=') + 1) + operation, model_.config()))
        edits.push_back(std::move(edit));
    }
    return edits;
  }

  const models::Model& model_;
  const eval::EvaluationOptions& options_;
  at::Tensor ids_;  // [1,T]
  run::RunTimes& times_;
  std::optional<std::vector<results::SuperWeight>> found_;
};

/// Tokens of the text that super weights are looked for with.
constexpr int64_t kSuperWeightTokens = 64;

Runs runs_of(const models::Model& model, const InterventionOptions& options, EditReader read_edits,
             const at::Tensor& ids, int64_t first) {
  Runs runs;
  runs.inputs.push_back({"plain", ids});
  if (options.evaluation.windows.ranks != nullptr) runs.inputs.front().part_begin = first;
  const auto add = [&](const std::string& name, const std::vector<run::Edit>& edits, const Branch& branch) {
    run::Input& input = runs.inputs.emplace_back(run::Input{name});
    input.parent = 0;
    input.edits = edits;
    input.matches = std::make_shared<run::EditMatches>();
    runs.branches.push_back(branch);
    if (run::name_classes(edits) && !runs.inputs.front().classes.defined())
      runs.inputs.front().classes = text::token_classes(model.tokenizer(), ids);
  };
  for (size_t i = 0; i < options.edits.size(); ++i) {
    const std::string name = fmt::format("edit{}", i + 1);
    std::vector<run::Edit> edits = read_edits(options.edits[i]);
    add(name, edits, {name, "", 0});
    for (int64_t seed = 1; seed <= options.controls; ++seed) {
      for (size_t e = 0; e < edits.size(); ++e) {
        // Two draws of one site by one seed may be of the same entries.
        const auto before = std::count_if(edits.begin(), edits.begin() + static_cast<std::ptrdiff_t>(e),
                                          [&](const run::Edit& edit) { return edit.site == edits[e].site; });
        edits[e].selection.random = static_cast<uint64_t>(seed + before * options.controls);
      }
      const std::string control = fmt::format("{}-control{}", name, seed);
      add(control, edits, {control, name, seed});
    }
  }
  return runs;
}

/// Of each edit of a branch: how many values of each window it changed, of all ranks; of weights, entries of
/// the matrix, the same in all windows.
std::vector<results::EditMatch> matches_of(const models::Config& config, const run::Input& input,
                                           int64_t parts, Ranks* ranks) {
  std::vector<results::EditMatch> list;
  for (size_t e = 0; e < input.edits.size(); ++e) {
    const run::Edit& edit = input.edits[e];
    results::EditMatch& match = list.emplace_back(results::EditMatch{run::edits_name({edit})});
    if (edit.of_weights()) {
      match.smallest = match.largest = match.total = run::matrix_entries(edit, config);
      continue;
    }
    std::vector<double> counts;
    for (int64_t b = 0; b < parts; ++b) counts.push_back(static_cast<double>(input.matches->count(e, b)));
    counts = eval::gathered(std::move(counts), ranks);
    if (counts.empty()) continue;
    match.smallest = static_cast<int64_t>(*std::min_element(counts.begin(), counts.end()));
    match.largest = static_cast<int64_t>(*std::max_element(counts.begin(), counts.end()));
    for (const double count : counts) match.total += static_cast<int64_t>(count);
  }
  return list;
}

void require_a_match(bool any, const std::string& edits, int64_t windows) {
  require(any, Cause{ErrorKind::argument},
          "edit '{}' selects nothing in any of the {} windows, so there is nothing to compare",
          printable(edits), windows);
}

/// Ends the run after the layer of an edit that selects nothing, not when all is computed.
class MatchWatch : public run::Observer {
 public:
  MatchWatch(const Runs& runs, int64_t windows) : runs_(runs), windows_(windows) {}
  bool wants(const run::Site&, size_t) const override { return false; }
  void on_layer_end(int64_t layer) override {
    const int64_t here = runs_.inputs.front().ids.size(0);
    for (size_t i = 1; i < runs_.inputs.size(); ++i) {
      const run::Input& input = runs_.inputs[i];
      if (!runs_.branches[i - 1].control_of.empty()) continue;
      bool open = false, any = false;
      for (size_t e = 0; e < input.edits.size(); ++e) {
        const run::Edit& edit = input.edits[e];
        open = open || edit.of_weights() || edit.layer() < 0 || edit.layer() > layer;
        for (int64_t b = 0; !open && !any && b < here; ++b) any = input.matches->count(e, b) > 0;
      }
      if (!open) require_a_match(any, run::edits_name(input.edits), windows_);
    }
  }

 private:
  const Runs& runs_;
  const int64_t windows_;
};

/// The layer from which on an input is not the plain run.
int64_t first_layer(const run::Input& input, const models::Config& config) {
  int64_t first = input.edits.empty() ? 0 : config.layers;
  for (const run::Edit& edit : input.edits)
    if (edit.layer() >= 0) first = std::min(first, edit.layer());
  return first;
}

double sink_rate(const results::Attention& attention) {
  double sum = 0;
  for (const results::Head& head : attention.heads) sum += head.sink_rate;
  return sum / static_cast<double>(attention.heads.size());
}

/// Before its first layer a run is the plain one.
void describe_layers(const std::vector<results::Layer>& layers, int64_t first, const std::string& plain,
                     results::InterventionRun& run) {
  for (const results::Layer& layer : layers) {
    const results::LayerInput& part = *layer.inputs.find(layer.layer < first ? plain : run.name);
    const double rate = sink_rate(*part.attention);
    run.sink_rate += rate / static_cast<double>(layers.size());
    if (layer.layer < first) continue;
    results::LayerState& state = run.layers.emplace_back();
    state.layer = layer.layer;
    state.max = part.resid_out->max;
    state.median = part.resid_out->median;
    if (state.median > 0) state.max_over_median = state.max / state.median;
    state.sink_rate = rate;
  }
}

}  // namespace

results::Interventions intervene(const models::Model& model, const InterventionOptions& options) {
  const models::Config& config = model.config();
  Ranks* ranks = options.evaluation.windows.ranks;
  const eval::Windows windows = eval::cut_windows(model, options.evaluation.windows);
  const auto [first, last] = eval::part_of(windows, ranks);
  const bool is_root = ranks == nullptr || ranks->is_root();
  // Of the first window, whatever this rank's part is, so that all find the same.
  const at::Tensor start =
      windows.ids.narrow(0, 0, 1).narrow(1, 0, std::min(kSuperWeightTokens, windows.ids.size(1)));
  run::RunTimes times;
  Runs runs = runs_of(model, options, EditReader(model, options.evaluation, start, times),
                      windows.ids.slice(0, first, last), first);
  const size_t count = runs.inputs.size();

  const measures::TextNames names(model.tokenizer());
  std::vector<measures::Input> measured;
  for (const run::Input& input : runs.inputs)
    measured.push_back({input.name, results::InputKind::corpus, windows.ids, first});
  measures::MeasureSet set(
      {config, names, measured, ranks}, [&](const measures::Context& context, size_t input) {
        return measures::residual_state(context, input, first_layer(runs.inputs[input], config));
      });
  run::FiniteWatch finite({first});  // of the plain run
  MatchWatch matches(runs, windows.text.windows);
  std::vector<run::Observer*> observers = {&set, &finite};
  if (ranks == nullptr) observers.push_back(&matches);  // else another rank may have some
  const BranchSums sums = sum_branches(model, windows, {first, last}, runs.inputs, observers, "intervening",
                                       eval::run_options(options.evaluation), ranks, times);

  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::vector<results::EditMatch>> matched;
  for (const run::Input& input : runs.inputs)
    matched.push_back(matches_of(config, input, last - first, ranks));
  if (ranks != nullptr) finite.merge(*ranks);
  results::Interventions result;
  if (!is_root) return result;
  const std::vector<results::Layer> layers = set.take_layers();
  eval::check_finite(eval::window_scores(windows, sums.nll_nats.front()), finite);
  for (size_t i = 0; i < count; ++i) {
    const run::Input& input = runs.inputs[i];
    results::InterventionRun& run = result.runs.emplace_back();
    const std::vector<results::WindowScore> scores = eval::window_scores(windows, sums.nll_nats[i]);
    static_cast<results::Score&>(run) = eval::score_of(scores);
    run.name = input.name;
    for (const results::WindowScore& window : scores) run.window_nll_nats.push_back(window.nll_nats);
    describe_layers(layers, first_layer(input, config), runs.inputs.front().name, run);
    if (i == 0) continue;
    const Branch& branch = runs.branches[i - 1];
    run.edits = run::edits_name(input.edits);
    run.matched = matched[i];
    if (!branch.control_of.empty()) {
      run.control_of = branch.control_of;
      run.seed = branch.seed;
    }
    const bool any = std::any_of(run.matched.begin(), run.matched.end(),
                                 [](const results::EditMatch& match) { return match.total > 0; });
    require_a_match(any || run.control_of, run.edits, windows.text.windows);
    std::vector<double> differences = sums.nll_nats[i];
    for (size_t w = 0; w < differences.size(); ++w) differences[w] -= sums.nll_nats.front()[w];
    const eval::Mean difference = eval::mean_of(windows, differences);
    run.effect = results::Effect{difference.mean, difference.standard_error,
                                 eval::mean_of(windows, sums.kl_nats[i]).mean,
                                 eval::mean_of(windows, sums.same_top1[i]).mean};
  }
  result.model = models::describe(model);
  result.text = windows.text;
  const std::chrono::duration<double> report = std::chrono::steady_clock::now() - begin;
  result.run = eval::describe_run(options.evaluation, times, report.count());
  return result;
}

}  // namespace outliers::studies
