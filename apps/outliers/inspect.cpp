#include <memory>

#include "outliers/core/output.h"
#include "outliers/core/terminal.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  ModelArgument model;
  bool json = false;
};

void run(const Options& options) {
  const Inspection inspection = inspect(options.model.source(), options.model.options());
  print(options.json ? inspection.json() + "\n" : inspection.text(table_columns()));
  if (inspection.problem()) throw Error(*inspection.problem());
}

}  // namespace

void add_inspect(CommandLine& line) {
  Command command = line.command("inspect", "print what a checkpoint is: family, sizes, tokenizer, tensors");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.adapter = true});
  add_json(command, options->json);
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
