#include <algorithm>
#include <memory>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/table.h"
#include "outliers/core/terminal.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

/// A --prompt, or a --prompt-file.
struct Prompt {
  std::string text;
  bool is_file;
};

struct Options {
  ModelArgument model;
  std::string output, measures;
  std::vector<Prompt> prompts;
  std::vector<std::string> corpora, images;
  std::vector<Option> of_text;  // options that models of images have no use for
  SurveyOptions survey;
  Compute compute;
  bool force = false, json = false, no_figures = false;
};

/// What --measures names; nothing where it is not given.
std::vector<std::string> names_in(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream words(list);
  for (std::string name; std::getline(words, name, ',');) {
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

void print_measures() {
  std::string table;
  for (const MeasureDescription& measure : outliers::list_measures()) {
    std::string line = fmt::format("{:15} {}", measure.name, measure.description);
    if (!measure.needs.empty()) line += fmt::format("; takes along {}", fmt::join(measure.needs, ", "));
    if (!measure.on_request.empty()) line += fmt::format("; only where named: takes {}", measure.on_request);
    table += line + "\n";
  }
  print(table);
}

Model open(const Options& options) {
  Model model = options.model.open();
  const std::string name = printable(model.config().name);
  if (!model.reads_images()) {
    if (!options.images.empty()) throw UsageError(fmt::format("--images: {} reads text", name));
    return model;
  }
  for (const Option& option : options.of_text) {
    if (option.given()) throw UsageError(fmt::format("{}: {} reads images", option.name(), name));
  }
  if (options.images.empty()) {
    throw UsageError(fmt::format(
        "{} reads images: name PNG, JPEG or .npy files, or a folder of them, with --images", name));
  }
  return model;
}

void run_rank(const Options& options, Ranks* ranks) {
  SessionOptions settings = options.compute.session(options.output);
  settings.ranks = ranks;
  const Session session(settings);
  std::optional<ReportDirectory> output;
  if (session.is_root()) output.emplace(options.output, options.force);
  const Model model = open(options);
  const Survey survey = session.survey(model, options.survey);
  if (!output) return;
  const auto files = output->write(survey, {.figures = !options.no_figures});
  if (options.json) {
    print(results::to_text(survey.results) + "\n");
    return;
  }
  const std::string list =
      fmt::format("{}/{}", printable(options.output, std::string::npos), fmt::join(files, ", "));
  print(summary_text(survey.results, text_columns()) + labelled("files", list, text_columns()));
}

void run(Options& options) {
  if (options.measures == "list") {
    print_measures();
    return;
  }
  if (options.output.empty()) throw UsageError("--output is required: a directory");
  const auto is_standard_input = [](const std::string& path) { return path == "-"; };
  std::vector<std::string> files = options.corpora;
  for (const Prompt& prompt : options.prompts) {
    if (prompt.is_file) files.push_back(prompt.text);
  }
  if (std::count_if(files.begin(), files.end(), is_standard_input) > 1)
    throw UsageError("--prompt-file and --corpus cannot both be standard input, nor twice");
  for (const Prompt& prompt : options.prompts)
    options.survey.prompts.push_back(prompt.is_file ? read_text(prompt.text) : prompt.text);
  options.survey.corpora.assign(options.corpora.begin(), options.corpora.end());
  options.survey.measures = names_in(options.measures);
  options.survey.images.assign(options.images.begin(), options.images.end());
  run_ranks([&](Ranks* ranks) { run_rank(options, ranks); });
}

}  // namespace

void add_report(CommandLine& line) {
  Command command = line.command("report", "find and locate the outliers of a model");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.adapter = true});
  command.add("-o,--output", options->output, "directory for the page, results.json, arrays.npz and figures")
      .value("DIR");
  // Each may be given again and again.
  const auto add_prompt = [&](const char* name, bool is_file, const char* use, const char* value) {
    const auto take = [options, is_file](const std::string& text) {
      options->prompts.push_back({text, is_file});
    };
    return command.add_repeated(name, take, use).value(value);
  };
  Option prompt = add_prompt(
      "--prompt", false, "text to look at token by token (default: the paper's); may be repeated", "TEXT");
  Option prompt_file = add_prompt("--prompt-file", true, kPromptFileUse, "FILE");
  Option corpus =
      command
          .add_repeated(
              "--corpus", [options](const std::string& path) { options->corpora.push_back(path); },
              "text to measure on: plain text or JSON lines (.jsonl), also compressed by gzip or zstd; - is "
              "standard input (default: one that comes along); may be repeated")
          .value("FILE");
  Option text_field = command
                          .add("--text-field", options->survey.text_field,
                               "reads the corpus as JSON lines and takes this field of each row "
                               "(default: text, else content)")
                          .value("NAME");
  add_images(command, options->images, "the first is looked at token by token, all are measured on");
  command.add("--sequences", options->survey.sequences, "windows of the corpus, or images at most")
      .between(int64_t{1}, int64_t{1} << 30)
      .by_default(fmt::format("{}; {} images", kDefaultSequences, kDefaultImages))
      .value("N");
  Option tokens = command.add("--tokens", options->survey.tokens, "tokens of a window, a BOS counted")
                      .between(int64_t{2}, int64_t{1} << 30)
                      .by_default("1024, or the positions there are")
                      .value("N");
  Option bos = add_bos(command, options->survey.bos);
  command
      .add("--measures", options->measures,
           "what is measured, names with commas between, or 'all': nothing else is computed; 'list' prints "
           "them, "
           "and what those take that are left out where none is named")
      .by_default("all that cost little")
      .value("NAMES");
  options->compute.add(command);
  Option seed = command
                    .add("--seed", options->survey.seed,
                         "0: the corpus from its start; else windows from random places")
                    .between(uint64_t{0}, uint64_t{results::kLargestSeed})
                    .shows_default()
                    .value("N");
  options->of_text = {prompt, prompt_file, corpus, text_field, tokens, bos, seed};
  add_force(command, options->force);
  command.flag("--no-figures", options->no_figures, "draw no figures");
  add_json(command, options->json);
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
