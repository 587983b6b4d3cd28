#include <algorithm>
#include <memory>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/ranks.h"
#include "outliers/core/terminal.h"
#include "outliers/core/warning.h"
#include "outliers/measures/measure.h"
#include "outliers/models/model.h"
#include "outliers/report/figures.h"
#include "outliers/report/format.h"
#include "outliers/report/gnuplot.h"
#include "outliers/report/page.h"
#include "outliers/report/results.h"
#include "outliers/report/summary_text.h"
#include "outliers/results/json.h"
#include "outliers/studies/survey.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

/// Images that are read where --sequences does not say how many.
constexpr int64_t kImages = 64;
/// Exact in the JSON of every language.
constexpr uint64_t kLargestSeed = (uint64_t{1} << 53) - 1;

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
  std::vector<CLI::Option*> of_text;  // options that models of images have no use for
  CLI::Option* sequences = nullptr;
  studies::SurveyOptions survey;
  Compute compute;
  bool force = false, json = false, no_figures = false;
};

/// What --measures names; `all` by default.
std::vector<std::string> names_in(const std::string& list) {
  std::vector<std::string> names;
  for (const std::string& name : CLI::detail::split(list, ',')) {
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

void list_measures() {
  std::string table;
  for (const measures::MeasureInfo& measure : measures::measure_table()) {
    std::string line = fmt::format("{:15} {}", measure.name, measure.description);
    if (!measure.needs.empty()) line += fmt::format("; takes along {}", fmt::join(measure.needs, ", "));
    table += line + "\n";
  }
  print(table);
}

/// Draws what the report in `directory` shows; a report without figures is still one, so what stops them is a
/// warning. Whether there are some.
bool draw_figures(const std::string& directory) {
  try {
    const std::filesystem::path path = directory;
    const auto figures = report::make_figures(report::read_results(path), {});
    if (figures.empty()) return false;
    report::draw(figures, report::palettes().front(), {"pdf", "svg", "png"}, path / "figures");
    return true;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    warn_message(error.what());
    return false;
  }
}

void write_page(const std::filesystem::path& directory) {
  report::write_page(report::read_results(directory), directory / "index.html");
}

/// The model, and what the survey has to know of it.
std::unique_ptr<models::Model> open(Options& options, const Session& session) {
  studies::SurveyOptions& survey = options.survey;
  auto model = options.model.open();
  survey.dtype = session.dtype(model->checkpoint());
  const std::string name = printable(model->config().name);
  if (!models::reads_images(model->config())) {
    if (!options.images.empty()) throw UsageError(fmt::format("--images: {} reads text", name));
    return model;
  }
  for (const CLI::Option* option : options.of_text) {
    if (option->count() > 0) throw UsageError(fmt::format("{}: {} reads images", option->get_name(), name));
  }
  if (options.images.empty()) {
    throw UsageError(fmt::format(
        "{} reads images: name PNG, JPEG or .npy files, or a folder of them, with --images", name));
  }
  survey.images = models::read_images(*model, {options.images.begin(), options.images.end()},
                                      options.sequences->count() > 0 ? survey.sequences : kImages);
  return model;
}

void run_rank(Options& options, const Session& session, Ranks* ranks) {
  studies::SurveyOptions& survey = options.survey;
  survey.ranks = ranks;
  if (ranks != nullptr && !ranks->is_root()) {
    set_warning_handler([](const std::string&) {});  // rank 0 tells the same
    studies::survey(*open(options, session), survey);
    return;
  }
  OutputDirectory output(options.output, options.force, "results.json");
  const auto model = open(options, session);
  const studies::Survey result = studies::survey(*model, survey);
  studies::write_survey(result, output.temporary());
  write_page(output.temporary());
  output.commit();
  const bool figures = !options.no_figures && draw_figures(options.output);
  if (figures) write_page(options.output);  // again: it lists them
  if (options.json) {
    print(results::to_text(result.results) + "\n");
  } else {
    const std::string files =
        fmt::format("{}/index.html, results.json, arrays.npz{}", printable(options.output, std::string::npos),
                    figures ? ", figures" : "");
    print(report::summary_text(result.results, text_columns()) +
          report::labelled("files", files, text_columns()));
  }
}

void run(Options& options) {
  if (options.measures == "list") {
    list_measures();
    return;
  }
  if (options.output.empty()) throw UsageError("--output is required: a directory");
  RankPlace place = RankPlace::from_environment();
  if (place.size > 1 && options.compute.device == "cuda")
    options.compute.device = fmt::format("cuda:{}", place.local_rank);
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
  options.survey.memory_limit = options.compute.memory;
  options.survey.spill_directory = spill_directory(options.output);
  // First, so that the others hear of all that fails here.
  const auto ranks = Ranks::join(place);
  try {
    const Session session = options.compute.start();
    options.survey.device = session.device();
    if (ranks) ranks->use(session.device());
    run_rank(options, session, ranks.get());
  } catch (const std::exception& error) {
    if (ranks) ranks->abandon(error.what());
    throw;
  }
}

}  // namespace

void add_report(CLI::App& app) {
  CLI::App* command = app.add_subcommand("report", "find and locate the outliers of a model");
  auto options = std::make_shared<Options>();
  options->model.add(*command, {.adapter = true});
  command
      ->add_option("-o,--output", options->output,
                   "directory for the page, results.json, arrays.npz and figures")
      ->type_name("DIR");
  // Each may be given again and again.
  const auto add_prompt = [&](const char* name, bool is_file, const char* use, const char* value) {
    return command
        ->add_option_function<std::string>(
            name,
            [options, is_file](const std::string& text) {
              options->prompts.push_back({text, is_file});
            },
            use)
        ->trigger_on_parse()
        ->type_name(value);
  };
  CLI::Option* prompt = add_prompt(
      "--prompt", false, "text to look at token by token (default: the paper's); may be repeated", "TEXT");
  CLI::Option* prompt_file = add_prompt("--prompt-file", true, kPromptFileUse, "FILE");
  CLI::Option* corpus =
      command
          ->add_option_function<std::string>(
              "--corpus", [options](const std::string& path) { options->corpora.push_back(path); },
              "text to measure on: plain text or JSON lines (.jsonl), also compressed by gzip or zstd; - is "
              "standard input (default: one that comes along); may be repeated")
          ->trigger_on_parse()
          ->type_name("FILE");
  CLI::Option* text_field =
      command
          ->add_option("--text-field", options->survey.text_field,
                       "reads the corpus as JSON lines and takes this field of each row "
                       "(default: text, else content)")
          ->type_name("NAME");
  add_images(*command, options->images, "the first is looked at token by token, all are measured on");
  options->sequences =
      command
          ->add_option("--sequences", options->survey.sequences, "windows of the corpus, or images at most")
          ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
          ->default_str(fmt::format("{}; {} images", options->survey.sequences, kImages))
          ->type_name("N");
  CLI::Option* tokens =
      command->add_option("--tokens", options->survey.tokens, "tokens of a window, a BOS counted")
          ->check(CLI::Range(int64_t{2}, int64_t{1} << 30))
          ->default_str("1024, or the positions there are")
          ->type_name("N");
  CLI::Option* bos = add_bos(*command, options->survey.bos);
  command
      ->add_option("--measures", options->measures,
                   "what is measured, names with commas between: nothing else is computed; 'list' prints all")
      ->default_str("all")
      ->type_name("NAMES");
  options->compute.add(*command);
  CLI::Option* seed = command
                          ->add_option("--seed", options->survey.seed,
                                       "0: the corpus from its start; else windows from random places")
                          ->check(CLI::Range(uint64_t{0}, kLargestSeed))
                          ->capture_default_str()
                          ->type_name("N");
  options->of_text = {prompt, prompt_file, corpus, text_field, tokens, bos, seed};
  add_force(*command, options->force);
  command->add_flag("--no-figures", options->no_figures, "draw no figures");
  add_json(*command, options->json);
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
