#include "outliers/report/page.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/warning.h"
#include "outliers/report/interventions.h"
#include "outliers/report/measured.h"
#include "outliers/report/page_arrays.h"
#include "outliers/report/page_text.h"
#include "outliers/report/summary_text.h"
#include "outliers/results/json.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

/// Rows of the table of massive activations, about: enough to look at, little enough to send.
constexpr size_t kMassiveRows = 4000;

/// What the page shows of the results. Long lists are cut; their counts stay.
results::Results digest(results::Results r, int64_t tokens) {
  const size_t lists = std::max<size_t>(r.layers.size() * r.inputs.size() * std::size(results::kPoints), 1);
  const size_t rows = std::max<size_t>(10, kMassiveRows / lists);
  const auto cut = [](auto& list, size_t count) { list.resize(std::min(list.size(), count)); };
  for (results::Layer& layer : r.layers) {
    if (layer.weights) layer.weights->experts.clear();  // thousands, and not shown
    for (auto& [name, input] : layer.inputs) {
      for (std::optional<results::Activations>* point : {&input.resid_out, &input.down_in}) {
        if (*point) cut((*point)->massive, rows);
      }
      if (input.attention) input.attention->outlier_keys.clear();  // counted in the index
      input.experts.clear();
    }
  }
  for (results::Input& input : r.inputs) {
    cut(input.ids, static_cast<size_t>(tokens));
    cut(input.tokens, static_cast<size_t>(tokens));
    cut(input.classes, static_cast<size_t>(tokens));
  }
  return r;
}

/// What the page has beside the results: figures, the order of what it shows, and the outlier keys of each
/// input and layer, counted by class.
ordered_json index_of(const Results& results) {
  ordered_json index = shown_order();
  index["figures"] = figures_beside(results.directory);
  ordered_json& classes = index["outlier_classes"] = ordered_json::object();
  for (const results::Input& input : results.data.inputs) {
    for (const results::Attention* layer : attention_layers(results.data, input)) {
      std::map<std::string, int64_t> counts;
      for (const results::Key& key : layer->outlier_keys) ++counts[key.token_class];
      classes[input.name].push_back(counts);
    }
  }
  return index;
}

/// <dt> and <dd> for each line of the summary.
std::string answer(const results::Results& r) {
  std::string html;
  for (const SummaryLine& line : summary_lines(r, true)) {
    if (line.label.empty()) continue;  // the sparkline; the page has its own
    html += fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(line.label), html_text(line.text));
  }
  return html;
}

/// The interventions in its directory, for the page; null where there are none, and where they are of another
/// model or damaged, which is warned of.
std::string interventions_of(const Results& results) {
  const std::filesystem::path directory = results.directory / kInterventionsDirectory;
  std::error_code ec;
  if (!std::filesystem::exists(directory / kInterventionsFile, ec)) return "null";
  try {
    const results::Interventions found = read_interventions(directory);
    const results::Model &mine = results.data.model, &theirs = found.model;
    require(mine.name == theirs.name && mine.family == theirs.family && mine.layers == theirs.layers &&
                mine.parameters == theirs.parameters,
            "{} is of another model than the report, {}", (directory / kInterventionsFile).string(),
            printable(theirs.name));
    return html_json_text(interventions_digest(found));
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    warn("interventions are left out of the page: {}", error.what());
    return "null";
  }
}

}  // namespace

std::map<std::string, std::vector<std::string>> figures_beside(const std::filesystem::path& directory) {
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

void write_page(const Results& results, const std::filesystem::path& path) {
  const results::Results& r = results.data;
  const int64_t tokens = page_tokens(r);
  const PageArrays arrays = page_arrays(results, tokens);
  OutputFile file(path, true);
  file.write(
      fill_template(report_template(), {{"title", html_text(r.model.name)},
                                        {"answer", answer(r)},
                                        {"results", html_json_text(results::to_text(digest(r, tokens), -1))},
                                        {"index", html_json(index_of(results))},
                                        {"interventions", interventions_of(results)},
                                        {"arrays_index", html_json(arrays.index)},
                                        {"arrays", packed(arrays.bytes)}}));
  file.commit();
}

}  // namespace outliers::report
