#include <memory>

#include <fmt/format.h>

#include "outliers/core/output.h"
#include "outliers/outliers.h"

#include "commands.h"

namespace outliers::apps {
namespace {

/// What --only calls the page, beside the figures' names.
constexpr const char* kPage = "page";

struct Options {
  std::string directory;
  FigureOptions figures;
};

/// Draws a Report or an Intervention.
template <typename Drawn>
void draw(const Drawn& report, Options& options) {
  const std::filesystem::path directory = options.directory;
  std::vector<std::string>& names = options.figures.names;
  const bool all = names.empty(), page = all || std::erase(names, kPage) > 0;
  if (all || !names.empty()) {
    const size_t count = report.draw(options.figures);
    print(count == 0 ? "no figures: none shows what was measured\n"
                     : fmt::format("{} figures in {}\n", count, (directory / "figures").string()));
  }
  if (page) {
    report.write_page();
    print(fmt::format("the page in {}\n", (directory / "index.html").string()));
  }
}

void run(Options& options) {
  const std::filesystem::path directory = options.directory;
  if (Intervention::is_at(directory)) {
    draw(Intervention::open(directory), options);
  } else {
    draw(Report::open(directory), options);
  }
}

}  // namespace

void add_plot(CommandLine& line) {
  Command command = line.command(
      "plot", "draw the figures and the page of a report, or an intervention, again, from its files alone");
  auto options = std::make_shared<Options>();
  command.add("DIR", options->directory, "a directory that outliers report or outliers intervene wrote")
      .required();
  command
      .add("--palette", options->figures.palette,
           "paper: the colours of 2502.06415; safe: for the colour-blind")
      .one_of(figure_palettes())
      .shows_default()
      .value("NAME");
  command.add("--formats", options->figures.formats, "which of pdf, svg and png")
      .separated()
      .one_of(figure_formats())
      .by_default("pdf,svg,png")
      .value("LIST");
  command
      .add("--only", options->figures.names,
           "names of figures, such as exist_down,pos_out_layers, and page (default: all)")
      .separated()
      .value("LIST");
  command.runs([options] { run(*options); });
}

}  // namespace outliers::apps
