#include <memory>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/ranks.h"
#include "outliers/core/terminal.h"
#include "outliers/core/warning.h"
#include "outliers/models/model.h"
#include "outliers/report/figures.h"
#include "outliers/report/format.h"
#include "outliers/report/gnuplot.h"
#include "outliers/report/page.h"
#include "outliers/report/results.h"
#include "outliers/report/summary_text.h"
#include "outliers/studies/survey.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

/// Images that are read where --sequences does not say how many.
constexpr int64_t kImages = 64;
/// Exact in the JSON of every language.
constexpr uint64_t kLargestSeed = (uint64_t{1} << 53) - 1;

struct Options {
  ModelArgument model;
  std::string output, prompt_file, corpus;
  std::vector<std::string> images;
  std::vector<CLI::Option*> of_text;  // options that models of images have no use for
  CLI::Option* sequences = nullptr;
  studies::SurveyOptions survey;
  Compute compute;
  bool force = false, json = false, no_figures = false;
};

/// Draws what the report in `directory` shows; a report without figures is still one, so what stops them is a
/// warning. Whether they were drawn.
bool draw_figures(const std::string& directory) {
  try {
    const std::filesystem::path path = directory;
    report::draw(report::make_figures(report::read_results(path), {}), report::palettes().front(),
                 {"pdf", "svg", "png"}, path / "figures");
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
    print(result.results.dump(1) + "\n");
  } else {
    const std::string files =
        fmt::format("{}/index.html, results.json, arrays.npz{}", printable(options.output, std::string::npos),
                    figures ? ", figures" : "");
    print(report::summary_text(report::read_results(options.output).data, text_columns()) +
          report::labelled("files", files, text_columns()));
  }
}

void run(Options& options) {
  RankPlace place = RankPlace::from_environment();
  if (place.size > 1 && options.compute.device == "cuda")
    options.compute.device = fmt::format("cuda:{}", place.local_rank);
  if (!options.prompt_file.empty()) {
    if (options.prompt_file == "-" && options.corpus == "-")
      throw UsageError("--prompt-file and --corpus cannot both be standard input");
    options.survey.prompt = read_text(options.prompt_file);
  }
  options.survey.corpus = options.corpus;
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
      ->required()
      ->type_name("DIR");
  CLI::Option* prompt = command
                            ->add_option("--prompt", options->survey.prompt,
                                         "text to look at token by token (default: the paper's)")
                            ->type_name("TEXT");
  CLI::Option* prompt_file = add_prompt_file(*command, options->prompt_file, prompt);
  CLI::Option* corpus =
      command
          ->add_option(
              "--corpus", options->corpus,
              "text to measure on: plain text or JSON lines (.jsonl), also compressed by gzip or zstd; - is "
              "standard input (default: one that comes along)")
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
