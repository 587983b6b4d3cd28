#include <memory>
#include <optional>

#include <fmt/format.h>

#include "outliers/core/output.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  ModelArgument model;
  std::string output;
  std::optional<at::ScalarType> dtype = at::kBFloat16;
  bool force = false;
};

void run(const Options& options) {
  ExportOptions how;
  how.open = options.model.options();
  how.files.dtype = *options.dtype;
  how.replace = options.force;
  const models::Exported written = export_model(options.model.source(), options.output, how);
  print(fmt::format("{}: {}\n", options.output, export_text(written)));
}

}  // namespace

void add_export(CommandLine& line) {
  Command command = line.command("export", "write a checkpoint as safetensors that transformers loads");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.adapter = true});
  command
      .add("-o,--output", options->output,
           "directory for the safetensors, config.json and tokenizer or image processor")
      .required()
      .value("DIR");
  add_dtype(command, "--dtype", options->dtype, nullptr, "what the weights are written in")
      .by_default("bfloat16");
  add_force(command, options->force);
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
