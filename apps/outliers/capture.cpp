#include <charconv>
#include <memory>

#include <fmt/format.h>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"

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
  CaptureOptions capture{.float32 = true};
  bool has_ids = false;
};

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

run::Input input_of(const Model& model, const Options& options, bool has_text) {
  const std::string name = printable(model.config().name);
  if (model.reads_images()) {
    if (has_text)
      throw UsageError(fmt::format("{} reads images: name them with --images, and give no text", name));
    return model.images({options.images.begin(), options.images.end()}, INT64_MAX);
  }
  if (!has_text) throw UsageError(fmt::format("--images: {} reads text", name));
  if (options.has_ids) return model.ids(parse_ids(options.ids));
  return model.text(options.prompt_file.empty() ? options.prompt : read_text(options.prompt_file),
                    options.bos);
}

void run(const Options& options, bool has_text) {
  if (options.points == "list") {
    print(run::points_text(options.model.open().config(), table_columns()));
    return;
  }
  if (!has_text && options.images.empty())
    throw UsageError(
        "give the tokens with one of --prompt, --prompt-file and --ids, or images with --images");
  if (options.output.empty())
    throw UsageError("--output is required: a file that ends in .npz or .safetensors");

  const Session session(options.compute.session(options.output));
  const Model model = options.model.open();
  run::Input input = input_of(model, options, has_text);
  input.name = "capture";
  for (const std::string& text : options.edits) {
    for (run::Edit& edit : run::parse_edits(text, model.config())) input.edits.push_back(std::move(edit));
  }
  const auto points = session.capture(model, input, options.points, options.output, options.capture);
  const int64_t tokens = input.ids.numel();
  print(fmt::format("{}: {} point{} of {} token{}\n", options.output, points.size(),
                    points.size() == 1 ? "" : "s", tokens, tokens == 1 ? "" : "s"));
}

}  // namespace

void add_capture(CommandLine& line) {
  Command command =
      line.command("capture", "write activations of any points to an .npz or .safetensors file");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.adapter = true});
  Option prompt = command.add("--prompt", options->prompt, "the text to run").value("TEXT");
  Option file = add_prompt_file(command, options->prompt_file, prompt);
  Option ids = command.add("--ids", options->ids, "token ids instead of text: 1,2,3").value("IDS");
  ids.excludes(prompt).excludes(file);
  add_images(command, options->images, "each is a sequence").excludes(prompt).excludes(file).excludes(ids);
  command
      .add("--points", options->points,
           "names with commas between; * stands for any layer or part of a name, a..b for layers a to b; "
           "layers count from 0, -1 is the last; 'list' prints all names and shapes")
      .shows_default()
      .value("POINTS");
  command
      .add("--edit", options->edits,
           "change the run on the way: SITE[SELECTION]=OPERATION, several joined by ; as in "
           "layer.3.resid_out[token=0,channel=62]=zero or weight.3.down[row=1,column=7]=scale(0.5); sites as "
           "--points has them; may be given several times, for all to be made (docs/edits.md)")
      .value("EDITS")
      .one_at_a_time();
  command.add("-o,--output", options->output, "the file to write, by its ending .npz or .safetensors")
      .value("FILE");
  add_bos(command, options->bos);
  options->compute.add(command);
  command
      .add(
          "--store",
          [options](const std::string& text) {
            options->capture.float32 = parse_dtype(text) == at::kFloat;
            if (!options->capture.float32 && lower(text) != "native")
              throw UsageError(
                  fmt::format("--store: '{}' is neither float32 nor native", printable(text, 20)));
          },
          "what is written: float32 (fp32, f32, float), or native: the dtype of the run")
      .by_default("float32")
      .value("DTYPE");
  add_force(command, options->capture.replace);
  command.runs([options, prompt, file, ids] {
    options->has_ids = ids.given();
    run(*options, prompt.given() || file.given() || ids.given());
  });
}

}  // namespace outliers::apps
