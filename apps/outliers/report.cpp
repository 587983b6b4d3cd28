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
#include "survey_arguments.h"

namespace outliers::apps {
namespace {

struct Options {
  SurveyArguments survey;
  std::string output, measures;
  bool force = false, json = false, no_figures = false, no_lifecycle = false;
  /// `outliers lifecycle`, and what it looks at.
  bool is_lifecycle = false;
  studies::LifecycleChoice look_at;
};

/// What `outliers lifecycle` measures beside the life cycle, and on how much of the corpus.
const std::vector<std::string> kOfLifecycle = {"activations", "attention", "attention_maps", "prompt_values",
                                               "writes"};
constexpr int64_t kLifecycleSequences = 8, kLifecycleTokens = 128;

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

void run_rank(const Options& options, SurveyOptions survey_options, Ranks* ranks) {
  SessionOptions settings = options.survey.session(options.output);
  settings.ranks = ranks;
  const Session session(settings);
  std::optional<ReportDirectory> output;
  if (session.is_root()) output.emplace(options.output, options.force);
  const Model model = options.survey.open();
  if (const int64_t positions = model.config().max_positions; options.is_lifecycle && positions > 0)
    survey_options.tokens = std::min(survey_options.tokens, positions);
  const Survey survey = session.survey(model, survey_options);
  if (!output) return;
  const auto files = output->write(survey, {.figures = !options.no_figures});
  if (options.json) {
    print(results::to_text(survey.results) + "\n");
    return;
  }
  const std::string list =
      fmt::format("{}/{}", printable(options.output, std::string::npos), fmt::join(files, ", "));
  const auto columns = text_columns();
  print((options.is_lifecycle ? lifecycle_text(survey.results, columns)
                              : summary_text(survey.results, columns)) +
        labelled("files", list, columns));
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
  survey.lifecycle = !options.no_lifecycle;
  survey.look_at = options.look_at;
  if (options.is_lifecycle) {
    survey.measures = kOfLifecycle;
    survey.sequences = kLifecycleSequences;
    survey.tokens = kLifecycleTokens;
  }
  run_ranks([&](Ranks* ranks) { run_rank(options, survey, ranks); });
}

/// The model and the place of its report.
void add_places(Command& command, Options& options) {
  options.survey.add_model(command);
  command.add("-o,--output", options.output, "directory for the page, results.json, arrays.npz and figures")
      .value("DIR");
}

void add_output(Command& command, const std::shared_ptr<Options>& options) {
  add_force(command, options->force);
  command.flag("--no-figures", options->no_figures, "draw no figures");
  add_json(command, options->json);
  command.runs([options] { run(*options); });
}

}  // namespace

void add_lifecycle(CommandLine& line) {
  Command command =
      line.command("lifecycle", "follow an outlier: who writes it, what it does, who takes it away");
  auto options = std::make_shared<Options>();
  options->is_lifecycle = true;
  add_places(command, *options);
  options->survey.add_prompts(command);
  studies::LifecycleChoice& look_at = options->look_at;
  const auto add_number = [&](const char* name, std::optional<int64_t>& number, const char* use) {
    command.add(name, number, use).between(int64_t{0}, int64_t{1} << 30).value("N");
  };
  add_number("--born", look_at.born, "the layer whose writing is taken apart (default: found)");
  add_number("--removed", look_at.removed, "the layer whose taking away is (default: found)");
  add_number("--spread", look_at.spread, "the layer whose attention is drawn (default: found)");
  add_number("--head", look_at.head, "its head (default: found)");
  add_number("--neuron", look_at.neuron, "the neuron that is drawn in the layer of birth (default: found)");
  add_number("--channel", look_at.channel, "the channel that is followed (default: found)");
  options->survey.add_compute(command);
  add_output(command, options);
}

void add_report(CommandLine& line) {
  Command command = line.command("report", "find and locate the outliers of a model");
  auto options = std::make_shared<Options>();
  add_places(command, *options);
  options->survey.add_inputs(command);
  command
      .add("--measures", options->measures,
           "what is measured, names with commas between, or 'all': nothing else is computed; 'list' prints "
           "them, and what those take that are left out where none is named")
      .by_default("all that cost little")
      .value("NAMES");
  command.flag("--no-lifecycle", options->no_lifecycle,
               "do not follow the prompts' outliers in a second run");
  options->survey.add_rules(command);
  options->survey.add_machine(command);
  add_output(command, options);
}

}  // namespace outliers::apps
