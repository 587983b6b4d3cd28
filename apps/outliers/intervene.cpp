#include <memory>

#include "commands.h"
#include "evaluation.h"

namespace outliers::apps {
namespace {

void shorten(results::Interventions& result) {
  for (results::InterventionRun& run : result.runs) run.window_nll_nats.clear();
}

std::string summary(const results::Interventions& result) {
  return summary_text(result, table_columns(), text_columns());
}

}  // namespace

void add_intervene(CommandLine& line) {
  Command command =
      line.command("intervene", "what becomes of a model's predictions when values or weights are changed");
  auto evaluation = std::make_shared<Evaluation>("interventions.json");
  auto intervention = std::make_shared<InterventionOptions>();
  evaluation->add_model(command);
  command
      .add("--edit", intervention->edits,
           "a run with these edits: SITE[SELECTION]=OPERATION, several joined by ; as in "
           "layer.3.resid_out[massive]=zero or weight.3.down[row=1,column=7]=zero (docs/edits.md); given "
           "several times, each is a run of its own")
      .required()
      .value("EDITS")
      .one_at_a_time();
  command
      .add("--controls", intervention->controls,
           "runs beside each that change as many values of the same layers at random, elsewhere")
      .between(int64_t{0}, int64_t{1000})
      .shows_default()
      .value("N");
  evaluation->add(command);
  auto no_figures = std::make_shared<bool>(false);
  command.flag("--no-figures", *no_figures, "draw no figures");
  command.runs([evaluation, intervention, no_figures] {
    const auto intervene = [&](const Session& session, const Model& model,
                               const eval::WindowOptions& windows) {
      intervention->windows = windows;
      return session.intervene(model, *intervention);
    };
    const auto finish = [&](const std::filesystem::path& directory) {
      return Intervention::open(directory).write({.figures = !*no_figures});
    };
    evaluation->run(intervene, shorten, summary, finish);
  });
}

}  // namespace outliers::apps
