#include "outliers/models/export.h"

#include <cstdio>
#include <map>
#include <memory>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/version.h"
#include "outliers/report/format.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

// Says that a directory is an export, so that --force may replace it.
constexpr const char* kMarker = "outliers-export.json";

struct Options {
  ModelArgument model;
  std::string output, dtype = "bf16";
  bool force = false;
};

void run(Options& options) {
  static const std::map<std::string, at::ScalarType> dtypes = {
      {"bf16", at::kBFloat16}, {"f16", at::kHalf}, {"f32", at::kFloat}};
  OutputDirectory output(options.output, options.force, kMarker);
  const auto model = options.model.open();
  models::ExportOptions how;
  how.dtype = dtypes.at(options.dtype);
  const models::Exported written = models::export_checkpoint(*model, output.temporary(), how);
  {
    OutputFile marker(output.temporary() / kMarker, false);
    marker.write(fmt::format("{{\"written_by\": \"outliers {} ({})\", \"dtype\": \"{}\"}}\n", version(),
                             commit(), options.dtype));
    marker.commit();
  }
  output.commit();
  std::fputs(
      fmt::format("{}: {} tensors, {} in {} file{}, config.json{}\n", options.output, written.tensors,
                  report::bytes(static_cast<double>(written.bytes)), written.files,
                  written.files == 1 ? "" : "s",
                  written.tokenizer ? ", the tokenizer's files"
                  : models::reads_images(model->config())
                      ? written.processor ? ", preprocessor_config.json"
                                          : "; no preprocessor_config.json: there is none beside the weights"
                  : model->checkpoint().metadata() != nullptr
                      ? "; no tokenizer: that of a GGUF is not converted, take the original model's files"
                      : "; no tokenizer: there is none beside the weights")
          .c_str(),
      stdout);
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
  command->add_option("--dtype", options->dtype, "what the weights are written in")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str()
      ->type_name("DTYPE");
  command->add_flag("--force", options->force, "replace the export in DIR");
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
