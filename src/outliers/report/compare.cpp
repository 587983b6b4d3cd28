#include "outliers/report/compare.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/table.h"
#include "outliers/report/life_text.h"
#include "outliers/report/measured.h"
#include "outliers/report/numbers.h"
#include "outliers/report/page_arrays.h"
#include "outliers/report/page_text.h"
#include "outliers/results/json.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

/// What each report is called: its model, and its directory where others have the same model.
std::vector<std::string> labels(const std::vector<Results>& reports) {
  std::map<std::string, int> uses;
  for (const Results& r : reports) ++uses[r.data.model.name];
  std::vector<std::string> names;
  for (const Results& r : reports) {
    const std::string& name = r.data.model.name;
    std::filesystem::path directory = r.directory.lexically_normal();
    if (!directory.has_filename()) directory = directory.parent_path();
    std::string label =
        uses[name] > 1 ? fmt::format("{} ({})", name, printable(directory.filename().string())) : name;
    // Two directories may share their last part.
    if (std::find(names.begin(), names.end(), label) != names.end())
      label = fmt::format("{} ({})", name, printable(directory.string()));
    names.push_back(std::move(label));
  }
  return names;
}

/// "7, 9, 11, ...".
std::string channels_of(const results::Life& life, const char* none) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, life.massive_channels.size()); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", life.massive_channels[i]);
  if (life.massive_channels.size() > 3) text += " ...";
  return text.empty() ? none : text;
}

/// What the first prompt tells: born, largest, removed, max, medians, channels.
std::vector<std::string> life_cells(const results::Results& r) {
  const results::Input* prompt = r.prompt();
  const results::Life* life = prompt == nullptr ? nullptr : life_of(r, *prompt);
  const auto layers =
      prompt == nullptr ? Layers<results::Activations>() : activation_layers(r, *prompt, "resid_out");
  if (life == nullptr || layers.empty()) return std::vector<std::string>(6, "not measured");
  const char* none = r.summary.first_nonfinite ? "?" : "-";
  const auto layer = [&](const std::optional<int64_t>& l) { return l ? fmt::format("{}", *l) : none; };
  std::vector<std::string> cells = {
      layer(life->born_layer), layer(life->peak_layer), layer(life->removed_layer), none, none,
      channels_of(*life, none)};
  if (const std::optional<int64_t> peak = peak_layer(r, *prompt)) {
    const results::Extent extent = layers[static_cast<size_t>(*peak)]->extent();
    cells[3] = number(extent.max);
    cells[4] = extent.median > 0 ? number(extent.ratio()) : "-";
  }
  return cells;
}

}  // namespace

void write_comparison(const std::vector<Results>& reports, const std::filesystem::path& directory) {
  const std::vector<std::string> names = labels(reports);
  ordered_json models = ordered_json::array();
  std::string answer, blocks;
  for (size_t i = 0; i < reports.size(); ++i) {
    const results::Results& r = reports[i].data;
    const std::string text = results::to_text(r, -1);
    models.push_back({{"label", names[i]}});
    answer +=
        fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(names[i]), html_text(life_sentence(r, r.prompt())));
    blocks += fmt::format("<script type=\"text/plain\" id=\"results-{}\">{}</script>\n", i, packed(text));
  }
  OutputFile page(directory / "index.html", false);
  page.write(fill_template(compare_template(),
                           {{"title", fmt::format("{} models", reports.size())},
                            {"answer", answer},
                            {"results", html_json({{"models", models}, {"shown", shown_order()}})},
                            {"arrays", blocks}}));
  page.commit();
  OutputFile json(directory / "comparison.json", false);
  json.write(comparison_json(reports));
  json.commit();
}

std::string comparison_json(const std::vector<Results>& reports) {
  const std::vector<std::string> names = labels(reports);
  ordered_json listed = ordered_json::array();
  for (size_t i = 0; i < reports.size(); ++i) {
    // Parts of results.json as they are.
    const ordered_json whole = ordered_json::parse(results::to_text(reports[i].data, -1));
    listed.push_back({{"label", names[i]},
                      {"model", whole["model"]},
                      {"run", whole["run"]},
                      {"summary", whole["summary"]}});
  }
  return ordered_json{{"schema", "outliers-comparison/2"}, {"reports", listed}}.dump(
             1, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

std::string comparison_text(const std::vector<Results>& reports, size_t width) {
  const std::vector<std::string> names = labels(reports);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < reports.size(); ++i) {
    const results::Results& r = reports[i].data;
    rows.push_back({printable(names[i], 48), fmt::format("{}", r.model.layers)});
    for (std::string& cell : life_cells(r)) rows.back().push_back(std::move(cell));
  }
  std::string text =
      table({"model", "layers", "born", "largest", "removed", "max", "x median", "channels"}, rows, width);
  for (size_t i = 0; i < reports.size(); ++i) {
    const results::Results& r = reports[i].data;
    if (!r.summary.first_nonfinite) continue;
    text += "\n" +
            fold(printable(names[i], 48) + ": " + life_sentence(r, r.prompt()), width > 0 ? width : 80, 0) +
            "\n";
  }
  return text;
}

}  // namespace outliers::report
