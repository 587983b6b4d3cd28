#include "outliers/report/compare.h"

#include <algorithm>
#include <map>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/report/format.h"
#include "outliers/report/page_arrays.h"
#include "outliers/report/page_text.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

/// What each report is called: its model, and its directory where others have the same model.
std::vector<std::string> labels(const std::vector<Results>& reports) {
  std::map<std::string, int> uses;
  for (const Results& r : reports) ++uses[r.json["model"]["name"].get<std::string>()];
  std::vector<std::string> names;
  for (const Results& r : reports) {
    const std::string name = r.json["model"]["name"];
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

std::string layer_or(const ordered_json& layer, const char* none) {
  return layer.is_null() ? none : fmt::format("{}", layer.get<int64_t>());
}

/// The layer of the prompt's largest value: summary.peak_layer, or without an outlier the largest of all that
/// can be told of; nullptr where that is none.
const ordered_json* peak_of(const ordered_json& r) {
  const ordered_json &layers = r["activations"]["prompt"]["resid_out"], &known = r["summary"]["peak_layer"];
  if (!known.is_null()) return &layers[known.get<size_t>()];
  const ordered_json* peak = nullptr;
  for (size_t l = 0; l < std::min(told_layers(r), layers.size()); ++l) {
    if (peak == nullptr || number_of(layers[l]["max"]) > number_of((*peak)["max"])) peak = &layers[l];
  }
  return peak;
}

std::string medians_of(const ordered_json& layer, const char* none) {
  const double max = number_of(layer["max"]), median = number_of(layer["median"]);
  return median > 0 ? number(max / median) : none;
}

/// "born in layer 2 of 24, largest in 15 (1,815, 4,045 medians), removed in 22".
std::string life(const ordered_json& r) {
  const ordered_json &s = r["summary"], &first = first_nonfinite(r);
  std::string end;
  if (!first.is_null()) {
    end = fmt::format("{} in layer {} ({})", first["value"].get<std::string>(), first["layer"].get<int64_t>(),
                      printable(first["point"], 40));
    if (told_layers(r) == 0) return "cannot be told: " + end;
    end += ": from there on it cannot be told";
  }
  if (!s["found"].get<bool>())
    return end.empty() ? "no systematic outlier" : fmt::format("no outlier in {}; {}", layers_words(r), end);
  const ordered_json& peak = *peak_of(r);
  const std::string medians = medians_of(peak, "");
  std::string text =
      fmt::format("born in layer {} of {}, largest in {} ({}{})", layer_or(s["born_layer"], "-"),
                  r["model"]["layers"].get<int64_t>(), layer_or(s["peak_layer"], "-"), shown(peak["max"]),
                  medians.empty() ? "" : ", " + medians + " medians");
  if (!s["removed_layer"].is_null()) {
    text += ", removed in " + layer_or(s["removed_layer"], "-");
  } else if (end.empty()) {
    text += ", removed by no layer";
  }
  return end.empty() ? text : text + "; " + end;
}

}  // namespace

void write_comparison(const std::vector<Results>& reports, const std::filesystem::path& directory) {
  const std::vector<std::string> names = labels(reports);
  ordered_json models = ordered_json::array(), listed = ordered_json::array();
  std::string answer, blocks;
  for (size_t i = 0; i < reports.size(); ++i) {
    const ordered_json& r = reports[i].json;
    models.push_back({{"label", names[i]}});
    listed.push_back(
        {{"label", names[i]}, {"model", r["model"]}, {"run", r["run"]}, {"summary", r["summary"]}});
    answer += fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(names[i]), html_text(life(r)));
    blocks +=
        fmt::format("<script type=\"text/plain\" id=\"results-{}\">{}</script>\n", i, packed(html_json(r)));
  }
  OutputFile page(directory / "index.html", false);
  page.write(fill_template(compare_template(), {{"title", fmt::format("{} models", reports.size())},
                                                {"answer", answer},
                                                {"results", html_json(models)},
                                                {"arrays", blocks}}));
  page.commit();
  OutputFile json(directory / "comparison.json", false);
  json.write(ordered_json{{"schema", "outliers-comparison/1"}, {"reports", listed}}.dump(
                 1, ' ', false, ordered_json::error_handler_t::replace) +
             "\n");
  json.commit();
}

std::string comparison_text(const std::vector<Results>& reports, size_t width) {
  const std::vector<std::string> names = labels(reports);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < reports.size(); ++i) {
    const ordered_json &r = reports[i].json, &s = r["summary"], &first = first_nonfinite(r);
    std::string channels;
    for (const auto& channel : s["massive_channels"]) {
      if (std::count(channels.begin(), channels.end(), ',') == 2) {
        channels += " ...";
        break;
      }
      channels += fmt::format("{}{}", channels.empty() ? "" : ", ", channel.get<int64_t>());
    }
    const ordered_json* peak = peak_of(r);
    const char* none = first.is_null() ? "-" : "?";
    rows.push_back({printable(names[i], 48), fmt::format("{}", r["model"]["layers"].get<int64_t>()),
                    layer_or(s["born_layer"], none), layer_or(s["peak_layer"], none),
                    layer_or(s["removed_layer"], none), peak != nullptr ? shown((*peak)["max"]) : none,
                    peak != nullptr ? medians_of(*peak, "-") : none, channels.empty() ? none : channels});
  }
  std::string text =
      table({"model", "layers", "born", "largest", "removed", "max", "x median", "channels"}, rows, width);
  for (size_t i = 0; i < reports.size(); ++i) {
    const ordered_json& r = reports[i].json;
    if (!first_nonfinite(r).is_null())
      text += "\n" + fold(printable(names[i], 48) + ": " + life(r), width > 0 ? width : 80, 0) + "\n";
  }
  return text;
}

}  // namespace outliers::report
