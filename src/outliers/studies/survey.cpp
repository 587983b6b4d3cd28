#include "outliers/studies/survey.h"

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/machine.h"
#include "outliers/core/memory.h"
#include "outliers/core/output.h"
#include "outliers/core/progress.h"
#include "outliers/core/version.h"
#include "outliers/io/npz.h"
#include "outliers/measures/measure_set.h"
#include "outliers/results/json.h"
#include "outliers/run/runner.h"
#include "outliers/studies/describe.h"
#include "outliers/studies/finite_watch.h"
#include "outliers/studies/subjects.h"
#include "outliers/studies/summary.h"

namespace outliers::studies {
namespace {

/// Tokens that have passed the whole model, a layer of L counted as a part of 1/L.
class ProgressObserver : public run::Observer {
 public:
  ProgressObserver(int64_t layers, const std::vector<run::Input>& inputs, bool shown)
      : layers_(layers),
        shown_(shown && Progress::watched()),
        progress_("measuring", tokens_of(inputs), "tokens") {}
  bool wants(const run::Site& site, size_t) const override {
    return site.point == run::Point::resid_out && shown_;
  }
  void on_point(const run::Site&, const run::Slice&, const at::Tensor& x) override {
    passed_ += x.size(0) * x.size(1);
    progress_.update(static_cast<double>(passed_) / static_cast<double>(layers_));
  }

 private:
  static int64_t tokens_of(const std::vector<run::Input>& inputs) {
    int64_t tokens = 0;
    for (const run::Input& input : inputs) tokens += input.ids.numel();
    return tokens;
  }

  int64_t layers_, passed_ = 0;
  bool shown_;
  Progress progress_;
};

int64_t peak_device_bytes(at::Device device) {
  if (device.is_cpu()) return 0;
  const auto stats = at::accelerator::getDeviceStats(device.index());
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return stats.allocated_bytes[all].peak;
}

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
  run.version = version();
  run.commit = commit();
  run.libtorch = libtorch_version();
  run.machine = machine_description();
  run.device = options.device.str();
  run.dtype = dtype_name(options.dtype);
  run.threads = at::get_num_threads();
  run.bos = text::bos_policy_name(options.bos);
  run.seed = static_cast<int64_t>(options.seed);
  for (const measures::MeasureInfo* measure : chosen) run.measures.emplace_back(measure->name);
  if (options.ranks != nullptr) run.ranks = options.ranks->size();
  run.seconds = {times.load_seconds, times.forward_seconds, times.observer_seconds, 0};
  run.first_product_seconds = times.first_product_seconds;
  run.weight_bytes_read = static_cast<int64_t>(times.weight_bytes_read);
  if (options.memory_limit > 0) {
    run.memory_limit_bytes = static_cast<int64_t>(options.memory_limit);
    run.spilled_bytes = static_cast<int64_t>(times.spilled_bytes);
  }
  return run;
}

/// What the fields are, those of the measures among them.
results::Named<results::Definition> definitions(const Criteria& criteria,
                                                const std::vector<const measures::MeasureInfo*>& chosen) {
  auto list = results::definitions(criteria);
  for (const measures::MeasureInfo* measure : chosen) {
    for (const measures::Value& value : measure->values) {
      list[std::string(results::kValuesPath) + value.name] = {value.shape, value.title, value.definition,
                                                              value.source};
    }
  }
  return list;
}

}  // namespace

Survey survey(const models::Model& model, const SurveyOptions& options) {
  const models::Config& config = model.config();
  const std::vector<const measures::MeasureInfo*> chosen =
      measures::choose_measures(options.measures, config);
  Subjects subjects = subjects_of(model, options);
  if (options.ranks != nullptr) split(subjects, *options.ranks);
  measures::MeasureSet set({config, *subjects.names, subjects.measured, options.ranks}, chosen);
  FiniteWatch finite(subjects.measured);
  const bool is_root = options.ranks == nullptr || options.ranks->is_root();
  run::RunTimes times;
  {
    ProgressObserver progress(config.layers, subjects.runs, is_root);
    run::RunOptions run_options;
    run_options.dtype = options.dtype;
    run_options.device = options.device;
    run_options.memory_limit = options.memory_limit;
    run_options.spill_directory = options.spill_directory;
    times = run::forward(model, subjects.runs, {&set, &finite, &progress}, run_options);
  }

  const auto begin = std::chrono::steady_clock::now();
  if (options.ranks != nullptr) finite.merge(*options.ranks);
  Survey survey;
  if (!is_root) return survey;
  results::Results& results = survey.results;
  results.model = describe_model(model);
  results.run = describe_run(options, times, chosen);
  results.inputs = std::move(subjects.listed);
  results.images = std::move(subjects.images);
  results.layers = set.take_layers();
  std::optional<results::FirstNonfinite>& first = results.summary.first_nonfinite;
  if (finite.first()) first = describe_first(*finite.first(), subjects.measured, *subjects.names);
  set.finish(results);
  if (first) first->before = largest_before(*finite.first(), results, subjects.measured, *subjects.names);
  summarise(results);
  results.definitions = definitions(results.criteria, chosen);
  for (const measures::Input& input : subjects.measured) {
    if (!input.is_prompt()) survey.arrays.emplace_back(input.name + ".ids", input.ids);
  }
  for (auto& array : set.take_arrays()) survey.arrays.push_back(std::move(array));

  const std::chrono::duration<double> report = std::chrono::steady_clock::now() - begin;
  results.run.seconds.report = report.count();
  results.run.peak_host_bytes = static_cast<int64_t>(peak_resident_bytes());
  results.run.peak_device_bytes = peak_device_bytes(options.device);
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
