#include "outliers/report/compare.h"

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"
#include "outliers/report/format.h"
#include "outliers/report/results.h"

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
  std::vector<report::Results> reports;
  for (const std::string& directory : options.directories) reports.push_back(report::read_results(directory));
  OutputDirectory output(options.output, options.force, "comparison.json");
  report::write_comparison(reports, output.temporary());
  const std::string json = options.json ? read_text(output.temporary() / "comparison.json") : "";
  output.commit();
  if (options.json) {
    print(json);
    return;
  }
  print(report::comparison_text(reports, table_columns()) + "\n" +
        report::labelled("files",
                         printable(options.output, std::string::npos) + "/index.html, comparison.json",
                         text_columns()));
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
