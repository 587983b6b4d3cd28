#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/figure_kinds.h"
#include "outliers/report/figure_parts.h"
#include "outliers/results/field.h"

namespace outliers::report {
namespace {

struct Share {
  std::string label;
  size_t kind;  // place in results::kClasses
  double count;
};

size_t class_of(const std::string& name) {
  const auto place = std::find(std::begin(results::kClasses), std::end(results::kClasses), name);
  require(place != std::end(results::kClasses), "figures have no colour for the class '{}'", printable(name));
  return static_cast<size_t>(place - std::begin(results::kClasses));
}

// One bar a text, those of initial tokens together; what is not among the first seven is "others" of its
// class.
Figure class_bars(const Sheet& sheet, const char* shows, const std::string& what, int64_t layer,
                  const std::vector<Share>& counted) {
  constexpr size_t kBars = 7;
  std::map<std::pair<size_t, std::string>, double> bars;
  double sum = 0;
  for (const Share& share : counted) {
    bars[{share.kind, share.kind == 0       ? kClassTitles[0]
                      : sheet.data().images ? share.label
                                            : fmt::format("\"{}\"", token_label(share.label, 12))}] +=
        share.count;
    sum += share.count;
  }
  std::vector<Share> rows;
  for (const auto& [key, count] : bars) rows.push_back({key.second, key.first, count});
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Share& a, const Share& b) { return a.count > b.count; });
  if (rows.size() > kBars) {
    std::array<double, kClassTitles.size()> rest{};
    for (size_t i = kBars; i < rows.size(); ++i) rest[rows[i].kind] += rows[i].count;
    rows.resize(kBars);
    for (size_t k = 0; k < rest.size(); ++k) {
      if (rest[k] > 0) rows.push_back({"more", k, rest[k]});
    }
  }
  Figure f{sheet.name, shows};
  f.data =
      "# place, percent, class (0 initial, 1 strong delimiter, 2 weak word, 3 other; 4 CLS, 5 register, 6 "
      "patch), "
      "text\n";
  double most = 0;
  std::array<bool, kClassTitles.size()> used{};
  for (size_t i = 0; i < rows.size(); ++i) {
    const double percent = 100 * rows[i].count / sum;
    most = std::max(most, percent);
    used[rows[i].kind] = true;
    f.data +=
        fmt::format("{}\t{}\t{}\t{}\n", i, data_number(percent), rows[i].kind, data_text(rows[i].label));
  }
  f.height = 1.05 + 0.17 * static_cast<double>(rows.size());
  f.settings = fmt::format(
      "set label 1 {} at screen 0.5, 1-0.1/height center\n"
      "set xlabel '{}' offset 0,0.8\n"
      "set xrange [0:{:g}]; set yrange [{}:-0.6]; unset ytics; set border 1; set xtics {} offset 0,0.3\n"
      "set grid xtics ls 100; unset key; set style fill solid noborder\n"
      "set lmargin at screen 0.33; set rmargin at screen 0.95; set tmargin at screen 1-0.21/height\n"
      "set bmargin at screen {}/height\n",
      script_text(title_of(sheet.report, sheet.input, fmt::format("layer {}", layer))), what,
      std::max(most * 1.22, 1.0), static_cast<double>(rows.size()) - 0.4,
      most > 60 ? "0, 20, 100" : "autofreq", std::count(used.begin(), used.end(), true) > 2 ? 0.73 : 0.575);
  f.plot = "  plot ";
  std::vector<Entry> legend;
  for (size_t k = 0; k < kClassTitles.size(); ++k) {
    if (!used[k]) continue;
    const std::string color = fmt::format("classes[{}]", k + 1);
    legend.push_back({kClassTitles[k], color, 0, nullptr});
    f.plot += fmt::format(
        "data using (int($3) == {} ? $2/2 : NaN):1:($2/2):(0.36) with boxxyerror fc rgb {}, \\\n    ", k,
        color);
  }
  add_legend(f, legend, 2);
  f.plot +=
      "data using (0):1:4 with labels noenhanced right offset -0.5,0, \\\n"
      "    data using 2:1:(sprintf('%.1f %%', $2)) with labels noenhanced left offset 0.4,0\n";
  return f;
}

/// The layer with the largest accumulated score.
int64_t busiest_layer(const Layers<results::Attention>& layers) {
  int64_t best = 0;
  double most = -1;
  for (size_t l = 0; l < layers.size(); ++l) {
    if (layers[l]->outlier_keys.empty() || layers[l]->top3_mean.empty()) continue;
    if (layers[l]->top3_mean.front() > most) {
      most = layers[l]->top3_mean.front();
      best = static_cast<int64_t>(l);
    }
  }
  return best;
}

}  // namespace

std::optional<Figure> outlier_keys(const Sheet& sheet) {
  const auto layers = attention_layers(sheet.data(), *sheet.input);
  if (layers.empty()) return std::nullopt;
  const int64_t layer = busiest_layer(layers);
  std::vector<Share> counted;
  for (const results::Key& key : layers[static_cast<size_t>(layer)]->outlier_keys)
    counted.push_back({key.token_text, class_of(key.token_class), 1});
  if (counted.empty()) return std::nullopt;
  return class_bars(sheet, "what the outlier keys are",
                    sheet.data().images ? "Outlier keys of all images, %" : "Outlier keys of the corpus, %",
                    layer, counted);
}

std::optional<Figure> massive_tokens(const Sheet& sheet) {
  const auto layers = activation_layers(sheet.data(), *sheet.input, "resid_out");
  if (layers.empty()) return std::nullopt;
  // The layer of the largest value, or where that has none, the one with the most.
  int64_t layer = sheet.chosen.peak.value_or(sheet.chosen.born), most = 0;
  const auto count = [&](int64_t l) {
    int64_t sum = 0;
    for (const results::TokenCount& text : layers[static_cast<size_t>(l)]->massive_tokens) sum += text.count;
    return sum;
  };
  if (count(layer) == 0) {
    for (int64_t l = 0; l < static_cast<int64_t>(layers.size()); ++l) {
      if (count(l) > most) {
        most = count(l);
        layer = l;
      }
    }
  }
  std::vector<Share> counted;
  for (const results::TokenCount& text : layers[static_cast<size_t>(layer)]->massive_tokens)
    counted.push_back({text.token_text, class_of(text.token_class), static_cast<double>(text.count)});
  if (counted.empty()) return std::nullopt;
  return class_bars(sheet, "which tokens have massive activations", "Tokens with massive activations, %",
                    layer, counted);
}

}  // namespace outliers::report
