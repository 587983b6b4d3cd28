#include <algorithm>
#include <cstdio>
#include <memory>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/report/figures.h"
#include "outliers/report/gnuplot.h"

#include "commands.h"

namespace outliers::apps {
namespace {

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
  const auto figures = report::make_figures(report::read_results(directory), options.only);
  require(!figures.empty(), "{} has nothing to show in {}", options.directory, fmt::join(options.only, ", "));
  report::draw(figures, *palette, options.formats, directory / "figures");
  std::fputs(fmt::format("{} figures in {}\n", figures.size(), (directory / "figures").string()).c_str(),
             stdout);
}

}  // namespace

void add_plot(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plot", "draw the figures of a report again, from its two files alone");
  auto options = std::make_shared<Options>();
  command->add_option("DIR", options->directory, "a directory that outliers report wrote")->required();
  command
      ->add_option("--palette", options->palette,
                   "paper: the colours of 2502.06415; safe: for the colour-blind")
      ->check(CLI::IsMember(palette_names()))
      ->capture_default_str()
      ->type_name("NAME");
  command->add_option("--formats", options->formats, "which of pdf, svg and png")
      ->delimiter(',')
      ->check(CLI::IsMember({"pdf", "svg", "png"}))
      ->default_str("pdf,svg,png")
      ->type_name("LIST");
  command
      ->add_option("--only", options->only,
                   "names of figures, such as exist_down,pos_out_layers (default: all)")
      ->delimiter(',')
      ->type_name("LIST");
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
