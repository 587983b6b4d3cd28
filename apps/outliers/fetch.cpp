#include <memory>

#include <fmt/format.h>

#include "outliers/core/output.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {

void add_fetch(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "fetch", "fetch a model from the Hugging Face Hub into its cache and print the path");
  auto model = std::make_shared<ModelArgument>();
  model->add(*command);
  command->callback([model] { print(fmt::format("{}\n", model->path().string())); });
}

}  // namespace outliers::apps
