#include "outliers/report/compare.h"

#include <algorithm>
#include <map>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/report/format.h"
#include "outliers/report/page_arrays.h"
#include "outliers/report/page_text.h"

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

/// "born in layer 2 of 24, largest in 15 (1,815, 4,045 medians), removed in 22".
std::string life(const ordered_json& r) {
  const ordered_json& s = r["summary"];
  if (!s["found"].get<bool>()) return "no systematic outlier";
  const ordered_json& peak = r["activations"]["prompt"]["resid_out"][s["peak_layer"].get<size_t>()];
  const double max = number_of(peak["max"]), median = number_of(peak["median"]);
  return fmt::format("born in layer {} of {}, largest in {} ({}{}), {}", layer_or(s["born_layer"], "-"),
                     r["model"]["layers"].get<int64_t>(), layer_or(s["peak_layer"], "-"), number(max),
                     median > 0 ? fmt::format(", {} medians", number(max / median)) : "",
                     s["removed_layer"].is_null()
                         ? "removed by no layer"
                         : fmt::format("removed in {}", layer_or(s["removed_layer"], "-")));
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

std::string comparison_text(const std::vector<Results>& reports) {
  const std::vector<std::string> names = labels(reports);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < reports.size(); ++i) {
    const ordered_json& r = reports[i].json;
    const ordered_json &s = r["summary"], &room = s["headroom"]["resid_out"];
    std::string channels;
    for (const auto& channel : s["massive_channels"]) {
      if (std::count(channels.begin(), channels.end(), ',') == 2) {
        channels += " ...";
        break;
      }
      channels += fmt::format("{}{}", channels.empty() ? "" : ", ", channel.get<int64_t>());
    }
    const bool known = room.is_object();
    rows.push_back({printable(names[i], 48), fmt::format("{}", r["model"]["layers"].get<int64_t>()),
                    layer_or(s["born_layer"], "-"), layer_or(s["peak_layer"], "-"),
                    layer_or(s["removed_layer"], "-"), known ? number(number_of(room["max"])) : "-",
                    known ? number(number_of(room["max_over_median"])) : "-",
                    known ? percent(number_of(room["of_fp16_max"])) : "-",
                    channels.empty() ? "-" : channels});
  }
  return table({"model", "layers", "born", "largest", "removed", "max", "x median", "of float16", "channels"},
               rows);
}

}  // namespace outliers::report
