#include <algorithm>
#include <memory>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/report/figures.h"
#include "outliers/report/gnuplot.h"
#include "outliers/report/page.h"
#include "outliers/report/results.h"

#include "commands.h"

namespace outliers::apps {
namespace {

/// What --only calls the page, beside the figures' names.
constexpr const char* kPage = "page";

struct Options {
  std::string directory, palette = "paper";
  std::vector<std::string> formats = {"pdf", "svg", "png"}, only;
};

std::vector<std::string> palette_names() {
  std::vector<std::string> names;
  for (const report::Palette& palette : report::palettes()) names.push_back(palette.name);
  return names;
}

void run(const Options& options) {
  const auto& palettes = report::palettes();
  const auto palette = std::find_if(palettes.begin(), palettes.end(),
                                    [&](const report::Palette& p) { return p.name == options.palette; });
  const std::filesystem::path directory = options.directory;
  const report::Results results = report::read_results(directory);
  std::vector<std::string> names = options.only;
  const bool page = names.empty() || std::erase(names, kPage) > 0;
  if (options.only.empty() || !names.empty()) {
    const auto figures = report::make_figures(results, names);
    require(!figures.empty() || names.empty(), "{} has nothing to show in {}", options.directory,
            fmt::join(names, ", "));
    if (figures.empty()) {
      print("no figures: none shows what was measured\n");
    } else {
      report::draw(figures, *palette, options.formats, directory / "figures");
      print(fmt::format("{} figures in {}\n", figures.size(), (directory / "figures").string()));
    }
  }
  if (page) {
    report::write_page(results, directory / "index.html");
    print(fmt::format("the page in {}\n", (directory / "index.html").string()));
  }
}

}  // namespace

void add_plot(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plot", "draw the figures and the page of a report again, from its two files alone");
  auto options = std::make_shared<Options>();
  command->add_option("DIR", options->directory, "a directory that outliers report wrote")->required();
  command
      ->add_option("--palette", options->palette,
                   "paper: the colours of 2502.06415; safe: for the colour-blind")
      ->check(CLI::IsMember(palette_names(), CLI::ignore_case))
      ->capture_default_str()
      ->type_name("NAME");
  command->add_option("--formats", options->formats, "which of pdf, svg and png")
      ->delimiter(',')
      ->check(CLI::IsMember({"pdf", "svg", "png"}, CLI::ignore_case))
      ->default_str("pdf,svg,png")
      ->type_name("LIST");
  command
      ->add_option("--only", options->only,
                   "names of figures, such as exist_down,pos_out_layers, and page (default: all)")
      ->delimiter(',')
      ->type_name("LIST");
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
