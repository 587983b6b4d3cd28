#include <memory>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"
#include "outliers/models/model.h"
#include "outliers/report/inspect_text.h"
#include "outliers/studies/describe.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  ModelArgument model;
  bool json = false;
};

void run(Options& options) {
  nlohmann::ordered_json description;
  try {
    description = studies::inspect(*options.model.open());
  } catch (const Error& error) {
    // A checkpoint of no known family still has tensors to show; a file that is no checkpoint fails here
    // again.
    description = studies::inspect(*io::Checkpoint::open(options.model.path()));
    description["problem"] = error.what();
  }
  // A GGUF's names are any bytes; JSON gets the replacement character for those that are no UTF-8.
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  print(options.json ? description.dump(1, ' ', false, replace) + "\n"
                     : report::inspect_text(description, table_columns()));
  if (description.contains("problem")) fail("{}", description["problem"].get<std::string>());
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("inspect", "print what a checkpoint is: family, sizes, tokenizer, tensors");
  auto options = std::make_shared<Options>();
  options->model.add(*command, {.adapter = true});
  add_json(*command, options->json);
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
