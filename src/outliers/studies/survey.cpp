#include "outliers/studies/survey.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/warning.h"
#include "outliers/io/npz.h"
#include "outliers/measures/measure_set.h"
#include "outliers/models/describe.h"
#include "outliers/results/field.h"
#include "outliers/results/json.h"
#include "outliers/run/describe.h"
#include "outliers/run/finite_watch.h"
#include "outliers/run/progress_observer.h"
#include "outliers/run/runner.h"
#include "outliers/studies/criticality.h"
#include "outliers/studies/first_nonfinite.h"
#include "outliers/studies/first_overflow.h"
#include "outliers/studies/lifecycle.h"
#include "outliers/studies/subjects.h"
#include "outliers/studies/summary.h"
#include "outliers/studies/super_weights.h"
#include "outliers/studies/vocabulary.h"

namespace outliers::studies {
namespace {

/// Cuts the corpora down to this rank's part.
void split(Subjects& subjects, const Ranks& ranks) {
  for (size_t i = 0; i < subjects.runs.size(); ++i) {
    if (subjects.measured[i].is_prompt()) continue;
    at::Tensor &ids = subjects.runs[i].ids, &pixels = subjects.runs[i].pixels;
    require(ids.size(0) >= ranks.size(), Cause{ErrorKind::argument, {Setting::sequences}},
            "{} sequences cannot be split over {} ranks; ask for more", ids.size(0), ranks.size());
    const auto [first, last] = ranks.part(ids.size(0));
    ids = ids.slice(0, first, last);
    if (pixels.defined()) pixels = pixels.slice(0, first, last);
    subjects.measured[i].first_sequence = first;
  }
}

results::Run describe_run(const SurveyOptions& options, const run::RunTimes& times,
                          const std::vector<const measures::MeasureInfo*>& chosen) {
  results::Run run;
  static_cast<results::Program&>(run) = run::describe_program(options.dtype, options.device);
  run.bos = text::bos_policy_name(options.bos);
  run.seed = static_cast<int64_t>(options.seed);
  for (const measures::MeasureInfo* measure : chosen) run.measures.emplace_back(measure->name);
  if (options.ranks != nullptr) run.ranks = options.ranks->size();
  run.first_product_seconds = times.first_product_seconds;
  return run;
}

bool has(const std::vector<const measures::MeasureInfo*>& chosen, std::string_view name) {
  return std::any_of(chosen.begin(), chosen.end(),
                     [&](const auto* measure) { return measure->name == name; });
}

/// Measures that take runs of their own, after the pass, of all ranks together.
struct LaterRuns {
  std::optional<results::SuperWeights> super_weights;
  std::optional<results::Criticality> criticality;
  std::optional<results::VocabularySpikes> vocabulary;
};

LaterRuns run_later(const models::Model& model, const Subjects& subjects,
                    std::vector<const measures::MeasureInfo*>& chosen, const run::RunOptions& options,
                    const Criteria& criteria, Ranks* ranks, run::RunTimes& times) {
  LaterRuns found;
  // What was measured before is not lost where the memory does not reach for one.
  const auto attempt = [&](const char* name, const auto& make) {
    if (!has(chosen, name)) return;
    try {
      make();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::memory || ranks != nullptr) throw;
      std::erase_if(chosen, [&](const auto* row) {
        return row->name == std::string_view(name) ||
               std::find(row->needs.begin(), row->needs.end(), name) != row->needs.end();
      });
      warn("the measure {} is left out: {}", name, error.what());
    }
  };
  attempt("super_weights", [&] {
    const bool is_root = ranks == nullptr || ranks->is_root();
    found.super_weights =
        find_super_weights(model, subjects.runs.front(), options, criteria, times, !is_root);
  });
  attempt("vocabulary", [&] {
    if (ranks != nullptr && !ranks->is_root()) return;
    found.vocabulary = spikes_of_vocabulary(model, *subjects.names, options, criteria, times, false);
  });
  attempt("criticality", [&] {
    std::vector<results::SuperWeight>& list = found.super_weights->found;
    if (ranks != nullptr) {  // machines that round otherwise may find others
      ByteWriter mine;
      mine.put(list);
      list = ByteReader(ranks->broadcast(mine.bytes())).get_vector<results::SuperWeight>();
    }
    const auto corpus = std::find_if(subjects.measured.begin(), subjects.measured.end(),
                                     [](const measures::Input& input) { return !input.is_prompt(); });
    if (list.empty() || corpus == subjects.measured.end()) return;
    const run::Input& run = subjects.runs[static_cast<size_t>(corpus - subjects.measured.begin())];
    found.criticality = measure_criticality(model, run, *corpus, *found.super_weights, options, ranks, times);
  });
  return found;
}

std::vector<size_t> prompts_of(const Subjects& subjects) {
  std::vector<size_t> prompts;
  for (size_t i = 0; i < subjects.measured.size(); ++i)
    if (subjects.measured[i].is_prompt()) prompts.push_back(i);
  return prompts;
}

/// What the fields are, those of the measures among them.
results::Named<results::Definition> definitions(const Criteria& criteria,
                                                const std::vector<const measures::MeasureInfo*>& chosen) {
  auto list = results::definitions(criteria);
  for (const measures::MeasureInfo* measure : chosen) {
    for (const measures::Value& value : measure->values) {
      list[std::string(results::kValuesPath) + value.name] = {
          value.shape, value.title, results::filled(value.definition, criteria), value.source};
    }
  }
  return list;
}

}  // namespace

Survey survey(const models::Model& model, const SurveyOptions& options) {
  const models::Config& config = model.config();
  std::vector<const measures::MeasureInfo*> chosen = measures::choose_measures(options.measures, config);
  check_choice(config, options.look_at);
  Subjects subjects = subjects_of(model, options);
  if (options.ranks != nullptr) split(subjects, *options.ranks);
  const Criteria& criteria = options.criteria;
  require(std::isfinite(criteria.sink_epsilon) && criteria.sink_epsilon >= 0 && criteria.sink_queries > 0,
          Cause{ErrorKind::argument, {}}, "a sink is a mean probability above {} over {} queries",
          criteria.sink_epsilon, criteria.sink_queries);
  measures::MeasureSet set({config, *subjects.names, subjects.measured, options.ranks, criteria}, chosen);
  std::vector<int64_t> first_sequences;
  for (const measures::Input& input : subjects.measured) first_sequences.push_back(input.first_sequence);
  run::FiniteWatch finite(first_sequences);
  const bool is_root = options.ranks == nullptr || options.ranks->is_root();
  const bool follows = options.lifecycle && is_root && has(chosen, "activations") && has(chosen, "attention");
  ResidualTrace trace(config, follows ? prompts_of(subjects) : std::vector<size_t>());
  run::RunOptions run_options;
  run_options.dtype = options.dtype;
  run_options.device = options.device;
  run_options.sink_queries = criteria.sink_queries;
  run_options.memory_limit = options.memory_limit;
  run_options.spill_directory = options.spill_directory;
  run::RunTimes times;
  {
    run::ProgressObserver progress("measuring", config.layers, subjects.runs, is_root);
    std::vector<run::Observer*> observers = {&set, &finite, &progress};
    if (follows) observers.push_back(&trace);
    run::RunOptions of_survey = run_options;
    of_survey.logits = set.wants_own_points();
    times = run::forward(model, subjects.runs, observers, of_survey);
  }

  const auto begin = std::chrono::steady_clock::now();
  if (options.ranks != nullptr) finite.merge(*options.ranks);
  set.on_run_end();
  run::RunTimes later;  // of runs after the pass
  LaterRuns found = run_later(model, subjects, chosen, run_options, criteria, options.ranks, later);
  Survey survey;
  if (!is_root) return survey;
  results::Results& results = survey.results;
  results.model = models::describe(model);
  results.criteria = criteria;
  results.run = describe_run(options, times, chosen);
  results.inputs = subjects.listed;
  results.images = std::move(subjects.images);
  results.layers = set.take_layers();
  results.super_weights = std::move(found.super_weights);
  results.criticality = std::move(found.criticality);
  results.vocabulary = std::move(found.vocabulary);
  std::optional<results::FirstNonfinite>& first = results.summary.first_nonfinite;
  if (finite.first()) first = describe_first(*finite.first(), subjects.measured, *subjects.names);
  set.finish(results);
  if (first) first->before = largest_before(*finite.first(), results, subjects.measured, *subjects.names);
  summarise(results);
  results.summary.first_overflow = first_overflows(results, subjects.measured, *subjects.names);
  results.definitions = definitions(results.criteria, chosen);
  for (const measures::Input& input : subjects.measured) {
    if (!input.is_prompt()) survey.arrays.emplace_back(input.name + ".ids", input.ids);
  }
  for (auto& array : set.take_arrays()) survey.arrays.push_back(std::move(array));
  if (follows) {
    try {
      add_lifecycle(model, subjects, trace, options.look_at, run_options, later, results, survey.arrays);
    } catch (const Error& error) {  // what was measured is not lost for it
      if (error.kind() != ErrorKind::memory) throw;
      results.lifecycle.reset();
      warn("the life cycle is left out: {}", error.what());
    }
  }

  const std::chrono::duration<double> report = std::chrono::steady_clock::now() - begin;
  times += later;
  results.run.seconds = {times.load_seconds, times.forward_seconds, times.observer_seconds,
                         std::max(0.0, report.count() - later.seconds())};
  static_cast<results::Cost&>(results.run) = run::describe_cost(times, options.memory_limit, options.device);
  return survey;
}

void write_survey(const results::Results& results, const measures::NamedArrays& arrays,
                  const std::filesystem::path& directory) {
  OutputFile text(directory / "results.json", false);
  text.write(results::to_text(results) + "\n");
  text.commit();
  io::NpzWriter tensors(directory / "arrays.npz");
  for (const auto& [name, tensor] : arrays) tensors.add(name, tensor);
  tensors.commit();
}

}  // namespace outliers::studies
