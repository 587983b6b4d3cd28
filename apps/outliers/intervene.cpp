#include <memory>
#include <optional>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/table.h"
#include "outliers/core/terminal.h"

#include "commands.h"
#include "common.h"
#include "evaluation.h"

namespace outliers::apps {
namespace {

constexpr const char* kFile = "interventions.json";

struct Options {
  ModelArgument model;
  EvaluationText text;
  InterventionOptions intervention;
  std::string output;
  Compute compute;
  bool force = false, json = false;
};

void run_rank(Options& options, Ranks* ranks) {
  SessionOptions settings = options.compute.session(options.output.empty() ? kFile : options.output);
  settings.ranks = ranks;
  const Session session(settings);
  std::optional<OutputDirectory> output;
  if (session.is_root() && !options.output.empty()) output.emplace(options.output, options.force, kFile);
  options.intervention.windows = options.text.windows();
  results::Interventions result = session.intervene(options.model.open(), options.intervention);
  if (!session.is_root()) return;
  if (output) {
    OutputFile file(output->temporary() / kFile, false);
    file.write(results::to_text(result) + "\n");
    file.commit();
    output->commit();
  }
  if (options.json) {
    for (results::InterventionRun& run : result.runs) run.window_nll_nats.clear();
    print(results::to_text(result) + "\n");
    return;
  }
  print(summary_text(result, table_columns(), text_columns()));
  if (output) {
    const std::string files = printable(options.output, std::string::npos) + "/" + kFile;
    print(labelled("files", files, text_columns()));
  }
}

}  // namespace

void add_intervene(CommandLine& line) {
  Command command =
      line.command("intervene", "what becomes of a model's predictions when values or weights are changed");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.adapter = true});
  command
      .add("--edit", options->intervention.edits,
           "a run with these edits: SITE[SELECTION]=OPERATION, several joined by ; as in "
           "layer.3.resid_out[massive]=zero or weight.3.down[row=1,column=7]=zero (docs/edits.md); given "
           "several times, each is a run of its own")
      .required()
      .value("EDITS")
      .one_at_a_time();
  command
      .add("--controls", options->intervention.controls,
           "runs beside each that change as many values of the same layers at random, elsewhere")
      .between(int64_t{0}, int64_t{1000})
      .shows_default()
      .value("N");
  options->text.add(command);
  command
      .add("-o,--output", options->output,
           "directory for interventions.json, with the value of each window (default: none)")
      .value("DIR");
  options->compute.add(command);
  add_force(command, options->force);
  add_json(command, options->json);
  command.runs([options] { run_ranks([&](Ranks* ranks) { run_rank(*options, ranks); }); });
}

}  // namespace outliers::apps
