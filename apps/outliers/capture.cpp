#include "outliers/run/capture.h"

#include <charconv>
#include <memory>

#include <ATen/ATen.h>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/image_processor.h"
#include "outliers/report/format.h"
#include "outliers/text/token_class.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  ModelArgument model;
  std::string prompt, prompt_file, ids, points = "layer.*.resid_out", output;
  std::vector<std::string> images, edits;
  text::BosPolicy bos = text::BosPolicy::model;
  Compute compute;
  bool force = false, has_ids = false, store_float32 = true;
};

void list_points(const models::Model& model) {
  std::vector<std::vector<std::string>> rows;
  for (const run::PointInfo& info : run::point_table()) {
    const std::string name = info.per_layer ? fmt::format("layer.*.{}", info.name) : info.name;
    if (!run::has_anywhere(model.config(), info.point)) continue;
    std::string sizes;
    constexpr int64_t kB = -1, kT = -2;
    for (const int64_t size : models::resolve_shape(info.shape, model.config(), kB, kT)) {
      const std::string text = size == kB ? "B" : size == kT ? "T" : fmt::format("{}", size);
      sizes += fmt::format("{}{}", sizes.empty() ? "" : " x ", text);
    }
    rows.push_back({name, info.shape, sizes, info.description});
  }
  print(report::table({"point", "shape", "here", "what"}, rows, table_columns()));
}

std::vector<int64_t> parse_ids(const std::string& text) {
  std::vector<int64_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    while (at < end && (*at == ',' || *at == ' ')) ++at;
    if (at == end) break;
    int64_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next < end && *next != ',' && *next != ' ')) {
      throw UsageError(
          fmt::format("--ids: '{}' is no token id; write numbers with commas between, as in 1,2,3",
                      printable(std::string(at, end), 20)));
    }
    ids.push_back(id);
    at = next;
  }
  if (ids.empty()) throw UsageError("--ids: there is no id");
  return ids;
}

std::vector<int64_t> ids_of(const models::Model& model, const Options& options) {
  if (options.has_ids) return parse_ids(options.ids);
  const std::string text = options.prompt_file.empty() ? options.prompt : read_text(options.prompt_file);
  require(!text.empty(), "the prompt is empty; give some text");
  const std::vector<int32_t> ids = model.tokenizer().encode(text, options.bos);
  return {ids.begin(), ids.end()};
}

/// What to run, as the model reads it.
run::Input batch_of(const models::Model& model, const Options& options, bool has_text) {
  const std::string name = printable(model.config().name);
  if (models::reads_images(model.config())) {
    if (has_text)
      throw UsageError(fmt::format("{} reads images: name them with --images, and give no text", name));
    const models::Images images =
        models::read_images(model, {options.images.begin(), options.images.end()}, INT64_MAX);
    return run::image_input(model.config(), "capture", images.pixels);
  }
  if (!has_text) throw UsageError(fmt::format("--images: {} reads text", name));
  const std::vector<int64_t> ids = ids_of(model, options);
  const auto tokens = static_cast<int64_t>(ids.size());
  models::check_positions(model.config(), tokens, "there are", "shorten the prompt", Setting::prompt);
  return {"capture", at::tensor(ids, at::kLong).unsqueeze(0)};
}

/// Of each token of a sequence.
at::Tensor classes_of(const text::Tokenizer& tokenizer, const at::Tensor& ids) {
  at::Tensor classes = at::empty_like(ids);
  const auto id = ids.accessor<int64_t, 2>();
  auto value = classes.accessor<int64_t, 2>();
  for (int64_t t = 0; t < ids.size(1); ++t) {
    value[0][t] = static_cast<int64_t>(text::token_class(tokenizer, static_cast<int32_t>(id[0][t]), t));
  }
  return classes;
}

void add_edits(const models::Model& model, const std::vector<std::string>& texts, run::Input& input) {
  for (const std::string& text : texts) {
    for (run::Edit& edit : run::parse_edits(text, model.config())) input.edits.push_back(std::move(edit));
  }
  if (run::name_classes(input.edits) && !models::reads_images(model.config()))
    input.classes = classes_of(model.tokenizer(), input.ids);
}

void run(Options& options, bool has_text) {
  if (options.points == "list") {
    list_points(*options.model.open());
    return;
  }
  if (!has_text && options.images.empty())
    throw UsageError(
        "give the tokens with one of --prompt, --prompt-file and --ids, or images with --images");
  if (options.output.empty())
    throw UsageError("--output is required: a file that ends in .npz or .safetensors");

  run::CaptureOptions capture;
  const Session session = options.compute.start();
  capture.run.device = session.device();
  capture.run.memory_limit = options.compute.memory;
  capture.run.spill_directory = spill_directory(options.output);
  capture.store_float32 = options.store_float32;
  capture.force = options.force;
  const auto model = options.model.open();
  capture.run.dtype = session.dtype(model->checkpoint());
  const std::vector<run::Site> sites = run::parse_sites(options.points, model->config());
  run::Input batch = batch_of(*model, options, has_text);
  add_edits(*model, options.edits, batch);
  const int64_t tokens = batch.ids.numel();
  run::capture(*model, batch, sites, options.output, capture);
  print(fmt::format("{}: {} point{} of {} token{}\n", options.output, sites.size(),
                    sites.size() == 1 ? "" : "s", tokens, tokens == 1 ? "" : "s"));
}

}  // namespace

void add_capture(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("capture", "write activations of any points to an .npz or .safetensors file");
  auto options = std::make_shared<Options>();
  options->model.add(*command, {.adapter = true});
  CLI::Option* prompt =
      command->add_option("--prompt", options->prompt, "the text to run")->type_name("TEXT");
  CLI::Option* file = add_prompt_file(*command, options->prompt_file, prompt);
  CLI::Option* ids =
      command->add_option("--ids", options->ids, "token ids instead of text: 1,2,3")->type_name("IDS");
  ids->excludes(prompt)->excludes(file);
  add_images(*command, options->images, "each is a sequence")
      ->excludes(prompt)
      ->excludes(file)
      ->excludes(ids);
  command
      ->add_option(
          "--points", options->points,
          "names with commas between; * stands for any layer or part of a name, a..b for layers a to b; "
          "layers count from 0, -1 is the last; 'list' prints all names and shapes")
      ->capture_default_str()
      ->type_name("POINTS");
  command
      ->add_option(
          "--edit", options->edits,
          "change the run on the way: SITE[SELECTION]=OPERATION, several joined by ; as in "
          "layer.3.resid_out[token=0,channel=62]=zero or weight.3.down[row=1,column=7]=scale(0.5); sites as "
          "--points has them; may be given several times, for all to be made (docs/edits.md)")
      ->type_name("EDITS")
      ->allow_extra_args(false);
  command->add_option("-o,--output", options->output, "the file to write, by its ending .npz or .safetensors")
      ->type_name("FILE");
  add_bos(*command, options->bos);
  options->compute.add(*command);
  command
      ->add_option_function<std::string>(
          "--store",
          [options](const std::string& text) {
            options->store_float32 = parse_dtype(text) == at::kFloat;
            if (!options->store_float32 && CLI::detail::to_lower(text) != "native")
              throw UsageError(
                  fmt::format("--store: '{}' is neither float32 nor native", printable(text, 20)));
          },
          "what is written: float32 (fp32, f32, float), or native: the dtype of the run")
      ->default_str("float32")
      ->type_name("DTYPE");
  add_force(*command, options->force);
  command->callback([options, prompt, file, ids] {
    options->has_ids = ids->count() > 0;
    run(*options, prompt->count() + file->count() + ids->count() > 0);
  });
}

}  // namespace outliers::apps
