#include <memory>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/table.h"
#include "outliers/core/terminal.h"

#include "commands.h"
#include "survey_arguments.h"

namespace outliers::apps {
namespace {

struct Options {
  SurveyArguments survey;
  std::string output, measures;
  bool force = false, json = false, no_figures = false;
};

/// What --measures names; `all` by default.
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
    table += line + "\n";
  }
  print(table);
}

void run_rank(const Options& options, const SurveyOptions& survey_options, Ranks* ranks) {
  SessionOptions settings = options.survey.session(options.output);
  settings.ranks = ranks;
  const Session session(settings);
  std::optional<ReportDirectory> output;
  if (session.is_root()) output.emplace(options.output, options.force);
  const Model model = options.survey.open();
  const Survey survey = session.survey(model, survey_options);
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

void run(const Options& options) {
  if (options.measures == "list") {
    print_measures();
    return;
  }
  if (options.survey.prints_rules()) return;
  if (options.output.empty()) throw UsageError("--output is required: a directory");
  SurveyOptions survey = options.survey.options();
  survey.measures = names_in(options.measures);
  run_ranks([&](Ranks* ranks) { run_rank(options, survey, ranks); });
}

}  // namespace

void add_report(CommandLine& line) {
  Command command = line.command("report", "find and locate the outliers of a model");
  auto options = std::make_shared<Options>();
  options->survey.add_model(command);
  command.add("-o,--output", options->output, "directory for the page, results.json, arrays.npz and figures")
      .value("DIR");
  options->survey.add_inputs(command);
  command
      .add("--measures", options->measures,
           "what is measured, names with commas between: nothing else is computed; 'list' prints all")
      .by_default("all")
      .value("NAMES");
  options->survey.add_rules(command);
  options->survey.add_machine(command);
  add_force(command, options->force);
  command.flag("--no-figures", options->no_figures, "draw no figures");
  add_json(command, options->json);
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
