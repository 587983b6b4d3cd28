#include "outliers/models/export.h"

#include <memory>
#include <optional>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/version.h"
#include "outliers/report/format.h"
#include "outliers/run/runner.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

// Says that a directory is an export, so that --force may replace it.
constexpr const char* kMarker = "outliers-export.json";

struct Options {
  ModelArgument model;
  std::string output;
  std::optional<at::ScalarType> dtype = at::kBFloat16;
  bool force = false;
};

void run(Options& options) {
  OutputDirectory output(options.output, options.force, kMarker);
  const auto model = options.model.open();
  models::ExportOptions how;
  how.dtype = *options.dtype;
  const models::Exported written = models::export_checkpoint(*model, output.temporary(), how);
  {
    OutputFile marker(output.temporary() / kMarker, false);
    marker.write(fmt::format("{{\"written_by\": \"outliers {} ({})\", \"dtype\": \"{}\"}}\n", version(),
                             commit(), dtype_name(how.dtype)));
    marker.commit();
  }
  output.commit();
  print(fmt::format(
      "{}: {} tensors, {} in {} file{}, config.json{}\n", options.output, written.tensors,
      report::bytes(static_cast<double>(written.bytes)), written.files, written.files == 1 ? "" : "s",
      written.tokenizer ? ", the tokenizer's files"
      : models::reads_images(model->config())
          ? written.processor ? ", preprocessor_config.json"
                              : "; no preprocessor_config.json: there is none beside the weights"
      : model->checkpoint().metadata() != nullptr
          ? "; no tokenizer: that of a GGUF is not converted, take the original model's files"
          : "; no tokenizer: there is none beside the weights"));
}

}  // namespace

void add_export(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("export", "write a checkpoint as safetensors that transformers loads");
  auto options = std::make_shared<Options>();
  options->model.add(*command, {.adapter = true});
  command
      ->add_option("-o,--output", options->output,
                   "directory for the safetensors, config.json and tokenizer or image processor")
      ->required()
      ->type_name("DIR");
  add_dtype(*command, "--dtype", options->dtype, nullptr, "what the weights are written in")
      ->default_str("bfloat16");
  add_force(*command, options->force);
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
