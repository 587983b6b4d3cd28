#include "outliers/api/report.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/warning.h"
#include "outliers/report/compare.h"
#include "outliers/report/evaluation_text.h"
#include "outliers/report/figures.h"
#include "outliers/report/findings_text.h"
#include "outliers/report/gnuplot.h"
#include "outliers/report/interventions.h"
#include "outliers/report/page.h"
#include "outliers/report/results.h"
#include "outliers/report/summary_text.h"
#include "outliers/studies/survey.h"

namespace outliers {
namespace {

// What says that a directory is one of ours, so that it may be replaced.
constexpr const char* kReportMarker = "results.json";
constexpr const char* kComparisonMarker = "comparison.json";
constexpr const char* kPage = "index.html";
constexpr const char* kFigures = "figures";

/// A report without figures is still one, so what stops them is a warning. Whether there are some.
template <typename Drawn>
bool try_to_draw(const Drawn& drawn) {
  try {
    return drawn.draw() > 0;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    warn_message(error.what());
    return false;
  }
}

const report::Palette& palette_of(const std::string& name) {
  for (const report::Palette& palette : report::palettes()) {
    if (palette.name == name) return palette;
  }
  fail(Cause{ErrorKind::usage}, "there is no palette {}; there are {}", printable(name, 40),
       fmt::join(figure_palettes(), ", "));
}

void check_formats(const std::vector<std::string>& formats) {
  const std::vector<std::string> known = figure_formats();
  for (const std::string& format : formats) {
    require(std::find(known.begin(), known.end(), format) != known.end(), Cause{ErrorKind::usage},
            "figures are not drawn as {}; there are {}", printable(format, 40), fmt::join(known, ", "));
  }
}

}  // namespace

std::vector<std::string> figure_palettes() {
  std::vector<std::string> names;
  for (const report::Palette& palette : report::palettes()) names.push_back(palette.name);
  return names;
}

std::vector<std::string> figure_formats() {
  return {report::kFormats.begin(), report::kFormats.end()};
}

std::vector<std::string> Survey::write(const std::filesystem::path& directory,
                                       const ReportOptions& options) const {
  return ReportDirectory(directory, options.replace).write(*this, options);
}

struct ReportDirectory::State {
  std::filesystem::path directory;
  OutputDirectory output;
};

ReportDirectory::ReportDirectory(const std::filesystem::path& directory, bool replace)
    : state_(new State{directory, OutputDirectory(directory, replace, kReportMarker)}) {}
ReportDirectory::~ReportDirectory() = default;
ReportDirectory::ReportDirectory(ReportDirectory&&) noexcept = default;

std::vector<std::string> ReportDirectory::write(const Survey& survey, const ReportOptions& options) {
  OutputDirectory& output = state_->output;
  studies::write_survey(survey.results, survey.arrays, output.temporary());
  if (options.page) Report::open(output.temporary()).write_page();
  output.commit();
  std::vector<std::string> files = {"results.json", "arrays.npz"};
  if (options.page) files.insert(files.begin(), kPage);
  if (options.figures && try_to_draw(Report::open(state_->directory))) {
    files.emplace_back(kFigures);
    if (options.page) Report::open(state_->directory).write_page();  // again: it lists them
  }
  return files;
}

struct Report::State {
  report::Results results;
};

Report::Report(std::unique_ptr<State> state) : state_(std::move(state)) {}
Report::~Report() = default;
Report::Report(Report&&) noexcept = default;
Report& Report::operator=(Report&&) noexcept = default;

Report Report::open(const std::filesystem::path& directory) {
  return Report(std::unique_ptr<State>(new State{report::read_results(directory)}));
}

bool Report::is_at(const std::filesystem::path& directory) {
  std::error_code ec;
  return std::filesystem::exists(directory / kReportMarker, ec) &&
         !std::filesystem::exists(directory / "config.json", ec);
}

const results::Results& Report::results() const {
  return state_->results.data;
}

at::Tensor Report::array(const std::string& name, const std::string& input) const {
  const results::Input* found = results().input(input);
  require(found != nullptr || input.empty(), Cause{ErrorKind::argument}, "{} has no input {}",
          printable(state_->results.directory.string()), printable(input, 40));
  require(state_->results.has(name, found), Cause{ErrorKind::argument}, "{}: {} was not measured",
          printable(state_->results.directory.string()), printable(name, 40));
  return state_->results.array(name, found);
}

std::vector<std::string> Report::figure_names() const {
  return report::figure_names(results());
}

size_t Report::draw(const FigureOptions& options) const {
  const report::Palette& palette = palette_of(options.palette);
  check_formats(options.formats);
  const std::filesystem::path& directory = state_->results.directory;
  const auto figures = report::make_figures(state_->results, options.names);
  require(!figures.empty() || options.names.empty(), Cause{ErrorKind::argument},
          "{} has nothing to show in {}", directory.string(), fmt::join(options.names, ", "));
  if (!figures.empty()) report::draw(figures, palette, options.formats, directory / kFigures);
  return figures.size();
}

void Report::write_page() const {
  report::write_page(state_->results, state_->results.directory / kPage);
}

struct Intervention::State {
  std::filesystem::path directory;
  results::Interventions data;
};

Intervention::Intervention(std::unique_ptr<State> state) : state_(std::move(state)) {}
Intervention::~Intervention() = default;
Intervention::Intervention(Intervention&&) noexcept = default;
Intervention& Intervention::operator=(Intervention&&) noexcept = default;

Intervention Intervention::open(const std::filesystem::path& directory) {
  return Intervention(std::unique_ptr<State>(new State{directory, report::read_interventions(directory)}));
}

bool Intervention::is_at(const std::filesystem::path& directory) {
  std::error_code ec;
  return std::filesystem::exists(directory / report::kInterventionsFile, ec);
}

const results::Interventions& Intervention::results() const {
  return state_->data;
}

std::vector<std::string> Intervention::figure_names() {
  return report::intervention_figure_names();
}

size_t Intervention::draw(const FigureOptions& options) const {
  const report::Palette& palette = palette_of(options.palette);
  check_formats(options.formats);
  const auto figures = report::make_intervention_figures(state_->data, options.names);
  report::draw(figures, palette, options.formats, state_->directory / kFigures);
  return figures.size();
}

void Intervention::write_page() const {
  report::write_intervention_page(state_->data, state_->directory, state_->directory / kPage);
}

std::vector<std::string> Intervention::write(const ReportOptions& options) const {
  std::vector<std::string> files;
  if (options.page) files.emplace_back(kPage);
  if (options.figures && try_to_draw(*this)) files.emplace_back(kFigures);
  if (options.page) write_page();  // it lists the figures
  return files;
}

struct Comparison::State {
  std::vector<report::Results> reports;
};

Comparison::Comparison(const std::vector<std::filesystem::path>& directories)
    : state_(std::make_unique<State>()) {
  for (const std::filesystem::path& directory : directories)
    state_->reports.push_back(report::read_results(directory));
}
Comparison::~Comparison() = default;
Comparison::Comparison(Comparison&&) noexcept = default;

void Comparison::write(const std::filesystem::path& directory, bool replace) const {
  OutputDirectory output(directory, replace, kComparisonMarker);
  report::write_comparison(state_->reports, output.temporary());
  output.commit();
}

std::string Comparison::text(size_t columns) const {
  return report::comparison_text(state_->reports, columns);
}

std::string Comparison::json() const {
  return report::comparison_json(state_->reports);
}

std::string summary_text(const results::Results& results, size_t columns) {
  return report::summary_text(results, columns);
}

std::string lifecycle_text(const results::Results& results, size_t columns) {
  return report::summary_text(results, columns, true);
}

std::string findings_text(const std::vector<results::Finding>& findings, size_t columns) {
  return report::findings_text(findings, columns);
}

std::string summary_text(const results::Perplexity& perplexity, size_t columns) {
  return report::perplexity_text(perplexity, columns);
}

std::string summary_text(const results::Interventions& interventions, size_t table_columns, size_t columns) {
  return report::interventions_text(interventions, table_columns, columns);
}

}  // namespace outliers
