#include "outliers/report/page.h"

#include <algorithm>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "outliers/core/output.h"
#include "outliers/report/page_arrays.h"
#include "outliers/report/page_text.h"
#include "outliers/report/summary_text.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

/// Rows of the table of massive activations, about: enough to look at, little enough to send.
constexpr size_t kMassiveRows = 4000;
/// Bytes of the arrays that have a value for each of the prompt's tokens, in each layer.
constexpr int64_t kTokenBytes = 900'000;

int64_t tokens_shown(const Sizes& s) {
  const int64_t each = s.L * 3 * 4;  // three arrays of float32
  return std::clamp<int64_t>(kTokenBytes / std::max<int64_t>(each, 1), 1, s.P);
}

void keep_first(ordered_json& list, size_t count) {
  if (list.size() > count)
    list.erase(list.begin() + static_cast<ordered_json::difference_type>(count), list.end());
}

/// The figures beside the page: name -> formats.
ordered_json figures(const std::filesystem::path& directory) {
  std::map<std::string, std::vector<std::string>> found;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "figures", ec)) {
    const std::string format = entry.path().extension().string();
    if (format == ".pdf" || format == ".svg" || format == ".png")
      found[entry.path().stem().string()].push_back(format.substr(1));
  }
  for (auto& [name, formats] : found) std::sort(formats.begin(), formats.end());
  return found;
}

/// What the page shows of results.json. Long lists are cut (their counts stay), the classes of outlier keys
/// are counted.
ordered_json digest(const Results& results, int64_t tokens) {
  ordered_json r = results.json;
  const auto layers = static_cast<size_t>(std::max<int64_t>(results.sizes.L, 1));
  const size_t rows = std::max<size_t>(10, kMassiveRows / (4 * layers));
  for (const char* batch : {"prompt", "corpus"}) {
    for (const char* point : {"resid_out", "down_in"}) {
      for (ordered_json& layer : r["activations"][batch][point]) keep_first(layer["massive"], rows);
    }
  }
  for (ordered_json* list : {&r["attention"]["prompt"]["layers"], &r["attention"]["corpus"]}) {
    for (ordered_json& layer : *list) {
      std::map<std::string, int64_t> classes;
      for (const ordered_json& key : layer["outlier_keys"]) ++classes[key["class"].get<std::string>()];
      layer["outlier_classes"] = classes;
      layer.erase("outlier_keys");
    }
  }
  for (ordered_json& layer : r["weights"]) layer.erase("experts");  // thousands, and not shown
  ordered_json& prompt = r["prompt"];
  for (const char* list : {"ids", "tokens", "classes"}) keep_first(prompt[list], static_cast<size_t>(tokens));
  prompt["token_count"] = results.sizes.P;
  r["figures"] = figures(results.directory);
  return r;
}

/// <dt> and <dd> for each line of the summary.
std::string answer(const ordered_json& results) {
  std::string html;
  for (const SummaryLine& line : summary_lines(results)) {
    if (line.label.empty()) continue;  // the sparkline; the page has its own
    html += fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(line.label), html_text(line.text));
  }
  return html;
}

}  // namespace

void write_page(const Results& results, const std::filesystem::path& path) {
  const int64_t tokens = tokens_shown(results.sizes);
  const PageArrays arrays = page_arrays(results, tokens);
  OutputFile file(path, true);
  file.write(fill_template(report_template(), {{"title", html_text(results.json["model"]["name"])},
                                               {"answer", answer(results.json)},
                                               {"results", html_json(digest(results, tokens))},
                                               {"arrays_index", html_json(arrays.index)},
                                               {"arrays", packed(arrays.bytes)}}));
  file.commit();
}

}  // namespace outliers::report
