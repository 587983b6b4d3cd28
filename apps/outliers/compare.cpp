#include "outliers/report/compare.h"

#include <cstdio>
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

namespace outliers::apps {
namespace {

struct Options {
  std::vector<std::string> directories;
  std::string output;
  bool force = false;
};

void run(const Options& options) {
  std::vector<report::Results> reports;
  for (const std::string& directory : options.directories) reports.push_back(report::read_results(directory));
  OutputDirectory output(options.output, options.force, "comparison.json");
  report::write_comparison(reports, output.temporary());
  output.commit();
  std::fputs(report::comparison_text(reports, table_columns()).c_str(), stdout);
  std::fputs("\n", stdout);
  std::fputs(
      report::labelled("files", printable(options.output, std::string::npos) + "/index.html, comparison.json",
                       text_columns())
          .c_str(),
      stdout);
}

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App* command = app.add_subcommand("compare", "show the reports of several models side by side");
  auto options = std::make_shared<Options>();
  command->add_option("DIR", options->directories, "directories that outliers report has made, two or more")
      ->required()
      ->expected(2, 1 << 20);
  command->add_option("-o,--output", options->output, "directory for the page and comparison.json")
      ->required()
      ->type_name("OUT");
  command->add_flag("--force", options->force, "replace the comparison in OUT");
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
