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

void add_compare(CommandLine& line) {
  Command command = line.command("compare", "show the reports of several models side by side");
  auto options = std::make_shared<Options>();
  command.add("DIR", options->directories, "directories that outliers report wrote, two or more")
      .required()
      .several(2)
      .value("DIR...");
  command.add("-o,--output", options->output, "directory for the page and comparison.json")
      .required()
      .value("DIR");
  add_force(command, options->force);
  add_json(command, options->json);
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
