#include <memory>

#include <fmt/format.h>

#include "outliers/core/output.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {

void add_fetch(CommandLine& line) {
  Command command =
      line.command("fetch", "fetch a model from the Hugging Face Hub into its cache and print the path");
  auto model = std::make_shared<ModelArgument>();
  model->add(command);
  command.runs([model] { print(fmt::format("{}\n", model->path().string())); });
}

}  // namespace outliers::apps
