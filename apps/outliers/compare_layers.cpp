#include <memory>
#include <optional>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  std::string a, b;
  std::optional<double> whole, row;
  bool json = false, all = false;
};

void run(const Options& options) {
  if (options.whole.has_value() != options.row.has_value()) {
    throw UsageError("--tolerance and --row-tolerance go together");
  }
  run::CaptureTolerance tolerance{};
  if (options.whole) tolerance = {*options.whole, *options.row};
  const run::CaptureComparison comparison =
      run::compare_captures(options.a, options.b, options.whole ? &tolerance : nullptr);
  print(options.json ? run::comparison_json(comparison) + "\n"
                     : run::comparison_text(comparison, table_columns(), options.all));
  if (comparison.first >= 0) fail("{}", run::first_difference(comparison));
}

}  // namespace

void add_compare_layers(CommandLine& line) {
  Command command =
      line.command("compare-layers",
                   "compare two captures and name the first point that differs (exit code 1 where one does)");
  auto options = std::make_shared<Options>();
  command.add("A", options->a, "a capture, .npz or .safetensors").required();
  command.add("B", options->b, "the capture it is held against").required();
  command
      .add("--tolerance", options->whole,
           "largest difference over the tensor's largest value (default: by dtype, float32 1e-4)")
      .not_negative()
      .value("X");
  command.add("--row-tolerance", options->row, "the same within each row (default: by dtype, float32 1e-3)")
      .not_negative()
      .value("X");
  command.flag("--all", options->all, "list all points, also those within tolerance where they are many");
  add_json(command, options->json);
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
