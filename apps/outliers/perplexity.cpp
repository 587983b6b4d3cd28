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

constexpr const char* kFile = "perplexity.json";

struct Options {
  ModelArgument model;
  EvaluationText text;
  std::string output;
  Compute compute;
  bool force = false, json = false;
};

void run_rank(const Options& options, Ranks* ranks) {
  SessionOptions settings = options.compute.session(options.output.empty() ? kFile : options.output);
  settings.ranks = ranks;
  const Session session(settings);
  std::optional<OutputDirectory> output;
  if (session.is_root() && !options.output.empty()) output.emplace(options.output, options.force, kFile);
  results::Perplexity result = session.perplexity(options.model.open(), options.text.windows());
  if (!session.is_root()) return;
  if (output) {
    OutputFile file(output->temporary() / kFile, false);
    file.write(results::to_text(result) + "\n");
    file.commit();
    output->commit();
  }
  if (options.json) {
    result.per_window.clear();
    print(results::to_text(result) + "\n");
    return;
  }
  print(summary_text(result, text_columns()));
  if (output) {
    const std::string files = printable(options.output, std::string::npos) + "/" + kFile;
    print(labelled("files", files, text_columns()));
  }
}

}  // namespace

void add_perplexity(CommandLine& line) {
  Command command = line.command("perplexity", "how well a model predicts a text");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.adapter = true});
  options->text.add(command);
  command
      .add("-o,--output", options->output,
           "directory for perplexity.json, with the value of each window (default: none)")
      .value("DIR");
  options->compute.add(command);
  add_force(command, options->force);
  add_json(command, options->json);
  command.runs([options] { run_ranks([&](Ranks* ranks) { run_rank(*options, ranks); }); });
}

}  // namespace outliers::apps
