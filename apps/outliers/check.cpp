#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"

#include "advice.h"
#include "commands.h"
#include "survey_arguments.h"

namespace outliers::apps {
namespace {

struct Options {
  SurveyArguments survey;
  std::string fail_on;
  bool json = false;
};

/// 0, or kReached where a finding is as bad as --fail-on.
int tell(const Options& options, const std::vector<results::Finding>& findings) {
  print(options.json ? results::to_text(findings) + "\n" : findings_text(findings, text_columns()));
  if (options.fail_on.empty()) return 0;
  const auto limit =
      lower(options.fail_on) == "severe" ? results::Severity::severe : results::Severity::warning;
  const bool reached = std::any_of(findings.begin(), findings.end(),
                                   [&](const results::Finding& f) { return f.severity >= limit; });
  return reached ? kReached : 0;
}

int check_model(const Options& options) {
  const SurveyOptions survey = options.survey.options();
  int code = 0;
  run_ranks([&](Ranks* ranks) {
    SessionOptions settings = options.survey.session(".");
    settings.ranks = ranks;
    const Session session(settings);
    const Model model = options.survey.open();
    SurveyOptions of_rules = survey;
    of_rules.measures = survey.rules.measures(model);
    of_rules.lifecycle = false;
    const Survey found = session.survey(model, of_rules);
    if (session.is_root()) code = tell(options, found.results.findings.value());
  });
  return code;
}

int run(const Options& options, const std::vector<std::string>& given) {
  if (options.survey.prints_rules()) return 0;
  const std::string& source = options.survey.source();
  if (!Report::is_at(source)) return check_model(options);
  for (const std::string& option : given) {
    if (option == "MODEL" || option == "--rules" || option == "--fail-on" || option == "--json") continue;
    throw UsageError(fmt::format("{}: {} is a report, of what was measured then", option, printable(source)));
  }
  return tell(options, options.survey.rules().findings(Report::open(source).results()));
}

}  // namespace

void add_check(CommandLine& line) {
  Command command =
      line.command("check", "what a model's outliers mean for number formats, quantisation and pruning");
  auto options = std::make_shared<Options>();
  options->survey.add_model(command);
  command
      .add("--fail-on", options->fail_on,
           "exit with 3 where a finding is as bad as this or worse: warning or severe")
      .one_of({"warning", "severe"})
      .value("SEVERITY");
  options->survey.add_rules(command);
  options->survey.add_inputs(command);
  options->survey.add_machine(command);
  add_json(command, options->json);
  command.returns([options, command] { return run(*options, command.given()); });
}

}  // namespace outliers::apps
