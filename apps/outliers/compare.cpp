#include <memory>
#include <string>
#include <vector>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/table.h"
#include "outliers/core/terminal.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  std::vector<std::string> directories;
  std::string output;
  bool force = false, json = false;
};

void run(const Options& options) {
  const Comparison comparison({options.directories.begin(), options.directories.end()});
  comparison.write(options.output, options.force);
  if (options.json) {
    print(comparison.json());
    return;
  }
  const std::string files = printable(options.output, std::string::npos) + "/index.html, comparison.json";
  print(comparison.text(table_columns()) + "\n" + labelled("files", files, text_columns()));
}

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App* command = app.add_subcommand("compare", "show the reports of several models side by side");
  auto options = std::make_shared<Options>();
  command->add_option("DIR", options->directories, "directories that outliers report wrote, two or more")
      ->required()
      ->expected(2, 1 << 20)
      ->type_name("DIR...");
  command->add_option("-o,--output", options->output, "directory for the page and comparison.json")
      ->required()
      ->type_name("DIR");
  add_force(*command, options->force);
  add_json(*command, options->json);
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
