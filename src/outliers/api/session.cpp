#include "outliers/api/session.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "outliers/core/error.h"
#include "outliers/core/warning.h"
#include "outliers/eval/perplexity.h"
#include "outliers/measures/measure.h"
#include "outliers/models/image_processor.h"
#include "outliers/models/model.h"
#include "outliers/run/capture.h"
#include "outliers/run/runner.h"
#include "outliers/studies/intervention.h"
#include "outliers/studies/survey.h"

namespace outliers {
namespace {

std::atomic<bool> g_session = false;

at::Device device_of(const std::string& name) {
  const Cause usage{ErrorKind::usage, {Setting::device}}, absent{ErrorKind::device, {Setting::device}};
  at::Device device(at::kCPU);
  try {
    device = at::Device(name);
  } catch (const c10::Error&) {
    fail(usage, "unknown device '{}'; known: cpu, cuda, cuda:N", printable(name));
  }
  if (device.is_cpu()) return at::Device(at::kCPU);
  require(device.is_cuda(), usage, "unknown device '{}'; known: cpu, cuda, cuda:N", printable(name));
#ifdef OUTLIERS_WITH_CUDA
  require(at::hasCUDA(), absent, "device {}: no CUDA device is usable here; use cpu", name);
  const auto devices = at::globalContext().getAcceleratorHooksInterface(at::kCUDA).deviceCount();
  const at::DeviceIndex number = device.has_index() ? device.index() : at::DeviceIndex{0};
  require(number < devices, absent, "device {}: this machine has {} CUDA device(s), counted from 0", name,
          static_cast<int>(devices));
  at::globalContext().lazyInitDevice(at::kCUDA);
  return at::Device(at::kCUDA, number);
#else
  fail(
      absent,
      "device {}: this build has no CUDA; build with the preset cuda and a CUDA build of PyTorch, or use cpu",
      name);
#endif
}

const char* precision_name(at::Float32MatmulPrecision precision) {
  switch (precision) {
    case at::Float32MatmulPrecision::HIGH:
      return "high";
    case at::Float32MatmulPrecision::MEDIUM:
      return "medium";
    default:
      return "highest";
  }
}

/// Keeps what it is shown at some sites.
class Keeper : public run::Observer {
 public:
  explicit Keeper(const std::vector<run::Site>& sites) : sites_(sites), parts_(sites.size()) {}

  bool wants(const run::Site& site, size_t) const override { return place_of(site) < sites_.size(); }
  void on_point(const run::Site& site, const run::Slice&, const at::Tensor& x) override {
    parts_[place_of(site)].push_back(x.cpu());
  }
  Captured take() {
    Captured result;
    for (size_t i = 0; i < sites_.size(); ++i)
      result.emplace_back(run::site_name(sites_[i]), at::cat(std::exchange(parts_[i], {})));
    return result;
  }

 private:
  size_t place_of(const run::Site& site) const {
    return static_cast<size_t>(std::find(sites_.begin(), sites_.end(), site) - sites_.begin());
  }

  const std::vector<run::Site>& sites_;
  std::vector<std::vector<at::Tensor>> parts_;  // by site: the slices' tensors
};

/// What is thrown for lack of memory, as an Error.
template <typename Work>
auto with_memory(const Work& work) {
  const Cause cause{ErrorKind::memory, {Setting::sequences, Setting::tokens, Setting::dtype}};
  try {
    return work();
  } catch (const std::bad_alloc&) {
    fail(cause, "out of memory; use fewer or shorter sequences, or a 16-bit dtype");
  } catch (const c10::OutOfMemoryError& error) {
    fail(cause, "out of memory on the device; use fewer or shorter sequences, or a 16-bit dtype ({})",
         printable(error.what_without_backtrace(), 200));
  }
}

}  // namespace

struct Session::State {
  SessionOptions options;
  at::Device device = at::kCPU;
  int threads_before = 0;
  at::Float32MatmulPrecision precision_before{};
  ProgressHandler progress_before;
  std::optional<WarningHandler> warning_before;
};

Session::Session(const SessionOptions& options) : state_(std::make_unique<State>()) {
  require(!g_session.exchange(true), Cause{ErrorKind::usage},
          "there is a session already; it sets what holds for the whole process");
  try {
    const bool own = options.ranks != nullptr && options.device == "cuda";
    state_->device = device_of(own ? fmt::format("cuda:{}", options.ranks->local_rank()) : options.device);
    if (options.ranks != nullptr) options.ranks->use(state_->device);
  } catch (...) {
    g_session = false;
    throw;
  }
  state_->options = options;
  state_->threads_before = at::get_num_threads();
  if (options.threads > 0) at::set_num_threads(options.threads);
  state_->precision_before = at::globalContext().float32MatmulPrecision();
  at::globalContext().setFloat32MatmulPrecision(options.tf32 ? "high" : "highest");
  if (options.progress.progress || options.progress.note)
    state_->progress_before = set_progress_handler(options.progress);
  if (options.warning) {
    state_->warning_before = set_warning_handler(options.warning);
  } else if (!is_root()) {
    state_->warning_before = set_warning_handler([](const std::string&) {});
  }
}

Session::~Session() {
  const SessionOptions& options = state_->options;
  if (options.threads > 0) at::set_num_threads(state_->threads_before);
  at::globalContext().setFloat32MatmulPrecision(precision_name(state_->precision_before));
  if (options.progress.progress || options.progress.note) set_progress_handler(state_->progress_before);
  if (state_->warning_before) set_warning_handler(*state_->warning_before);
  g_session = false;
}

at::Device Session::device() const {
  return state_->device;
}

bool Session::is_root() const {
  return state_->options.ranks == nullptr || state_->options.ranks->is_root();
}

at::ScalarType Session::dtype(const io::Checkpoint& checkpoint) const {
  if (state_->options.dtype) return *state_->options.dtype;
  if (state_->device.is_cpu()) return at::kFloat;
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    if (info.shape.size() < 2) continue;  // norms and biases are often kept wider than the matrices
    const at::ScalarType native = checkpoint.native_dtype(info.name);
    return native == at::kDouble ? at::kFloat : native;
  }
  return at::kFloat;
}

run::RunOptions Session::run_options(const Model& model) const {
  run::RunOptions options;
  options.dtype = dtype(model.checkpoint());
  options.device = device();
  options.memory_limit = state_->options.memory_limit;
  options.spill_directory = state_->options.spill_directory;
  options.ranks = state_->options.ranks;
  return options;
}

run::RunTimes Session::forward(const Model& model, const std::vector<run::Input>& inputs,
                               const std::vector<run::Observer*>& observers,
                               const ForwardOptions& options) const {
  run::RunOptions run = run_options(model);
  run.chunk_tokens = options.chunk_tokens;
  run.logits = options.logits;
  run.layers = options.layers;
  std::vector<run::Input> complete = inputs;
  run::add_classes(*model.model_, complete);
  return with_memory([&] { return run::forward(*model.model_, complete, observers, run); });
}

Survey Session::survey(const Model& model, const SurveyOptions& options) const {
  require(options.seed <= uint64_t{results::kLargestSeed}, Cause{ErrorKind::argument, {Setting::seed}},
          "the seed {} is too large; 2^53 - 1 at most", options.seed);
  studies::SurveyOptions survey;
  survey.prompts = options.prompts;
  survey.corpora = options.corpora;
  survey.measures = options.measures;
  survey.criteria.sink_epsilon = options.sink_epsilon;
  survey.criteria.sink_queries = options.sink_queries;
  survey.lifecycle = options.lifecycle;
  survey.look_at = options.look_at;
  survey.text_field = options.text_field;
  survey.sequences = options.sequences.value_or(kDefaultSequences);
  survey.tokens = options.tokens;
  survey.bos = options.bos;
  survey.seed = options.seed;
  survey.dtype = dtype(model.checkpoint());
  survey.device = device();
  survey.memory_limit = state_->options.memory_limit;
  survey.spill_directory = state_->options.spill_directory;
  survey.ranks = state_->options.ranks;
  require(model.reads_images() || options.images.empty(), Cause{ErrorKind::argument, {Setting::images}},
          "{} reads text", printable(model.config().name));
  if (!options.images.empty())
    survey.images =
        models::read_images(*model.model_, options.images, options.sequences.value_or(kDefaultImages));
  studies::Survey result = with_memory([&] { return studies::survey(*model.model_, survey); });
  if (is_root()) result.results.findings = options.rules.findings(result.results);
  return {std::move(result.results), std::move(result.arrays)};
}

eval::EvaluationOptions Session::evaluation(const Model& model, const eval::WindowOptions& windows) const {
  eval::EvaluationOptions options;
  options.windows = windows;
  options.windows.ranks = state_->options.ranks;
  options.dtype = dtype(model.checkpoint());
  options.device = device();
  options.memory_limit = state_->options.memory_limit;
  options.spill_directory = state_->options.spill_directory;
  return options;
}

results::Perplexity Session::perplexity(const Model& model, const eval::WindowOptions& windows) const {
  return with_memory([&] { return eval::perplexity(*model.model_, evaluation(model, windows)); });
}

results::Interventions Session::intervene(const Model& model, const InterventionOptions& options) const {
  const studies::InterventionOptions how{evaluation(model, options.windows), options.edits, options.controls};
  return with_memory([&] { return studies::intervene(*model.model_, how); });
}

Captured Session::capture(const Model& model, const run::Input& input, const std::string& points) const {
  const std::vector<run::Site> sites = run::parse_sites(points, model.config());
  Keeper keeper(sites);
  ForwardOptions options;
  options.logits = sites.back().layer < 0;
  if (!options.logits) options.layers = sites.back().layer + 1;
  forward(model, {input}, {&keeper}, options);
  return keeper.take();
}

std::vector<run::Site> Session::capture(const Model& model, const run::Input& input,
                                        const std::string& points, const std::filesystem::path& file,
                                        const CaptureOptions& options) const {
  const std::vector<run::Site> sites = run::parse_sites(points, model.config());
  std::vector<run::Input> inputs = {input};
  run::add_classes(*model.model_, inputs);
  const run::CaptureOptions how{
      .run = run_options(model), .store_float32 = options.float32, .force = options.replace};
  with_memory([&] { return run::capture(*model.model_, inputs.front(), sites, file, how); });
  return sites;
}

std::vector<MeasureDescription> list_measures() {
  std::vector<MeasureDescription> list;
  for (const measures::MeasureInfo& row : measures::measure_table())
    list.push_back({row.name, row.description, row.needs, row.on_request == nullptr ? "" : row.on_request});
  return list;
}

}  // namespace outliers
