#include <memory>

#include <fmt/format.h>

#include "outliers/core/output.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {

void add_fetch(CommandLine& line) {
  Command command = line.command(
      "fetch",
      "fetch a model, or files of a data set, from the Hugging Face Hub into its cache and print where");
  auto model = std::make_shared<ModelArgument>();
  model->add(command);
  command.runs([model] {
    if (!model->source().starts_with("hf://")) {
      print(fmt::format("{}\n", model->path().string()));
      return;
    }
    if (!model->options().revision.empty() || !model->options().file.empty())
      throw UsageError("an address that begins with hf:// names its revision and file itself");
    for (const auto& path : fetch_data_set(model->source())) print(fmt::format("{}\n", path.string()));
  });
}

}  // namespace outliers::apps
