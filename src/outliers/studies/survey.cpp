#include "outliers/studies/survey.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/machine.h"
#include "outliers/core/memory.h"
#include "outliers/core/output.h"
#include "outliers/core/progress.h"
#include "outliers/core/version.h"
#include "outliers/io/npz.h"
#include "outliers/models/config_reader.h"
#include "outliers/run/runner.h"
#include "outliers/studies/definitions.h"
#include "outliers/studies/describe.h"
#include "outliers/studies/finite_watch.h"
#include "outliers/studies/summary.h"
#include "outliers/studies/survey_observer.h"
#include "outliers/studies/token_names.h"
#include "outliers/text/corpus.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kDefaultTokens = 1024;

/// Tokens that have passed the whole model, a layer of L counted as a part of 1/L.
class ProgressObserver : public run::Observer {
 public:
  ProgressObserver(int64_t layers, int64_t tokens, bool shown)
      : layers_(layers), shown_(shown && Progress::watched()), progress_("measuring", tokens, "tokens") {}
  bool wants(const run::Site& site, size_t) const override {
    return site.point == run::Point::resid_out && shown_;
  }
  void on_point(const run::Site&, const run::Slice&, const at::Tensor& x) override {
    passed_ += x.size(0) * x.size(1);
    progress_.update(static_cast<double>(passed_) / static_cast<double>(layers_));
  }

 private:
  int64_t layers_, passed_ = 0;
  bool shown_;
  Progress progress_;
};

at::Tensor prompt_ids(const models::Model& model, const SurveyOptions& options) {
  const Cause cause{ErrorKind::argument, {Setting::prompt}};
  require(!options.prompt.empty(), cause, "the prompt is empty; give some text");
  const std::vector<int32_t> ids = model.tokenizer().encode(options.prompt, options.bos);
  require(!ids.empty(), cause, "the prompt has no tokens; give some text");
  models::check_positions(model.config(), static_cast<int64_t>(ids.size()), "the prompt has", "shorten it",
                          Setting::prompt);
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
}

ordered_json describe_prompt(const std::string& text, const at::Tensor& ids, const TokenNames& names) {
  ordered_json prompt = {{"text", text},
                         {"ids", ordered_json::array()},
                         {"tokens", ordered_json::array()},
                         {"classes", ordered_json::array()}};
  const auto id = ids.accessor<int64_t, 2>();
  for (int64_t t = 0; t < ids.size(1); ++t) {
    const int64_t token = id[0][t];
    prompt["ids"].push_back(token);
    prompt["tokens"].push_back(names.text(token));
    prompt["classes"].push_back(names.kind(token, t));
  }
  return prompt;
}

uint64_t peak_device_bytes(at::Device device) {
  if (device.is_cpu()) return 0;
  const auto stats = at::accelerator::getDeviceStats(device.index());
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return static_cast<uint64_t>(stats.allocated_bytes[all].peak);
}

/// What a survey runs, and how results describe it.
struct Input {
  std::vector<run::Input> batches;  // prompt, corpus
  std::unique_ptr<TokenNames> names;
  std::string prompt, corpus;
};

Input text_input(const models::Model& model, const SurveyOptions& options) {
  const models::Config& config = model.config();
  const text::Tokenizer& tokenizer = model.tokenizer();
  int64_t tokens = options.tokens;
  if (tokens == 0) {
    tokens = config.max_positions > 0 ? std::min(kDefaultTokens, config.max_positions) : kDefaultTokens;
  }
  models::check_positions(config, tokens, "a window should have", "ask for fewer", Setting::tokens);
  const at::Tensor prompt = prompt_ids(model, options);
  require(options.ranks == nullptr || options.corpus != "-", Cause{ErrorKind::argument, {Setting::corpus}},
          "every rank reads the corpus, which standard input cannot give to all; name a file");
  text::Corpus corpus =
      options.corpus.empty() ? text::default_corpus() : text::read_corpus(options.corpus, options.text_field);
  check_interrupt();
  const std::string corpus_name = corpus.name;
  const at::Tensor windows =
      text::make_windows(tokenizer, std::move(corpus), options.sequences, tokens, options.bos, options.seed);
  return {{{"prompt", prompt}, {"corpus", windows}},
          std::make_unique<TextNames>(tokenizer),
          text::replace_invalid_utf8(options.prompt),
          corpus_name};
}

Input image_input(const models::Model& model, const models::Images& images) {
  const models::Config& config = model.config();
  require(images.pixels.defined(), Cause{ErrorKind::argument, {Setting::images}},
          "{} reads images, but there are none; name PNG, JPEG or .npy files, or a folder of them",
          printable(config.name));
  const auto batch = [&](const char* name, const at::Tensor& pixels) {
    return run::image_input(config, name, pixels);
  };
  const int64_t height = images.pixels.size(2), width = images.pixels.size(3);
  const models::PatchGrid grid = models::patch_grid(config, height, width, "images");
  return {{batch("prompt", images.pixels.narrow(0, 0, 1)), batch("corpus", images.pixels)},
          std::make_unique<PatchNames>(config, grid),
          text::replace_invalid_utf8(images.names.front()),
          fmt::format("{} image{} of {} x {} pixels{}", images.names.size(),
                      images.names.size() == 1 ? "" : "s", height, width,
                      images.left_out > 0 ? fmt::format(" ({} more left out)", images.left_out) : "")};
}

ordered_json describe_images(const models::Config& config, const models::Images& images) {
  const models::Vision& vision = config.vision;
  const models::PatchGrid grid =
      models::patch_grid(config, images.pixels.size(2), images.pixels.size(3), "images");
  ordered_json names = ordered_json::array();
  for (const std::string& name : images.names) names.push_back(text::replace_invalid_utf8(name));
  return {{"names", names},
          {"left_out", images.left_out},
          {"height", images.pixels.size(2)},
          {"width", images.pixels.size(3)},
          {"patch_height", vision.patch_height},
          {"patch_width", vision.patch_width},
          {"rows", grid.rows},
          {"columns", grid.columns},
          {"registers", vision.registers}};
}

}  // namespace

Survey survey(const models::Model& model, const SurveyOptions& options) {
  const models::Config& config = model.config();
  const bool of_images = models::reads_images(config);
  const Input input = of_images ? image_input(model, options.images) : text_input(model, options);
  const std::vector<run::Input>& batches = input.batches;
  const at::Tensor &prompt = batches[0].ids, &windows = batches[1].ids;
  std::vector<run::Input> mine = batches;
  if (options.ranks != nullptr) {
    const int ranks = options.ranks->size();
    require(windows.size(0) >= ranks, Cause{ErrorKind::argument, {Setting::sequences}},
            "{} sequences cannot be split over {} ranks; ask for more", windows.size(0), ranks);
    const auto [first, last] = options.ranks->part(windows.size(0));
    mine[1].ids = windows.slice(0, first, last);
    if (of_images) mine[1].pixels = batches[1].pixels.slice(0, first, last);
  }
  SurveyObserver observer(config, *input.names, batches, options.ranks);
  FiniteWatch finite(options.ranks == nullptr ? 0 : options.ranks->part(windows.size(0)).first);
  run::RunTimes times;
  {
    ProgressObserver progress(config.layers, prompt.numel() + mine[1].ids.numel(),
                              options.ranks == nullptr || options.ranks->is_root());
    run::RunOptions run_options;
    run_options.dtype = options.dtype;
    run_options.device = options.device;
    run_options.memory_limit = options.memory_limit;
    run_options.spill_directory = options.spill_directory;
    times = run::forward(model, mine, {&observer, &finite, &progress}, run_options);
  }

  const auto begin = std::chrono::steady_clock::now();
  if (options.ranks != nullptr) finite.merge(*options.ranks);
  Survey survey;
  if (options.ranks != nullptr && !options.ranks->is_root()) return survey;
  ordered_json measured = observer.results();
  ordered_json& results = survey.results;
  results["schema"] = "outliers-results/1";
  results["model"] = describe_model(model);
  results["run"] = {{"version", version()},
                    {"commit", commit()},
                    {"libtorch", libtorch_version()},
                    {"machine", machine_description()},
                    {"device", options.device.str()},
                    {"dtype", dtype_name(options.dtype)},
                    {"threads", at::get_num_threads()},
                    {"bos", text::bos_policy_name(options.bos)},
                    {"sequences", windows.size(0)},
                    {"tokens_per_sequence", windows.size(1)},
                    {"corpus", printable(input.corpus)},
                    {"seed", options.seed}};
  if (options.ranks != nullptr) results["run"]["ranks"] = options.ranks->size();
  results["prompt"] = describe_prompt(input.prompt, prompt, *input.names);
  results["prompt"]["embedding"] = std::move(measured["embedding"]);
  results["prompt"]["kept_tokens"] = std::min(kKeptTokens, prompt.size(1));
  for (const char* part : {"activations", "weights", "attention", "writes"}) {
    results[part] = std::move(measured[part]);
  }
  if (of_images) {
    results["images"] = describe_images(config, options.images);
    results["norms"] = std::move(measured["norms"]);
  }
  results["summary"] = summarise(results, observer.activation_attention(),
                                 describe_first(finite.first(), results["activations"],
                                                results["prompt"]["embedding"], batches, *input.names));
  results["definitions"] = definitions(of_images);
  survey.arrays = observer.arrays();

  const std::chrono::duration<double> report = std::chrono::steady_clock::now() - begin;
  ordered_json& run = results["run"];
  run["seconds"] = {{"load", times.load_seconds},
                    {"forward", times.forward_seconds},
                    {"statistics", times.observer_seconds},
                    {"report", report.count()}};
  run["first_product_seconds"] = times.first_product_seconds;
  run["weight_bytes_read"] = times.weight_bytes_read;
  if (options.memory_limit > 0) {
    run["memory_limit_bytes"] = options.memory_limit;
    run["spilled_bytes"] = times.spilled_bytes;
  }
  run["peak_host_bytes"] = peak_resident_bytes();
  run["peak_device_bytes"] = peak_device_bytes(options.device);
  return survey;
}

void write_survey(const Survey& survey, const std::filesystem::path& directory) {
  OutputFile results(directory / "results.json", false);
  results.write(survey.results.dump(1) + "\n");
  results.commit();
  io::NpzWriter arrays(directory / "arrays.npz");
  for (const auto& [name, tensor] : survey.arrays) arrays.add(name, tensor);
  arrays.commit();
}

}  // namespace outliers::studies
