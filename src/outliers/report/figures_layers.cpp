#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/ranges.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/report/figure_kinds.h"
#include "outliers/report/figure_parts.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

/// Lines of one figure: as many as there are colours.
constexpr size_t kMostLines = std::size(kShownModules);

/// Axes of a figure over layers. untold: whether layers that cannot be told of are shaded.
Figure over_layers(const Sheet& sheet, const std::string& shows, const std::string& y_label,
                   bool untold = true) {
  const int64_t layers = sheet.data().model.layers;
  Figure f{sheet.name, shows};
  f.settings = fmt::format(
      "set label 1 {} at screen 0.5, 1-0.1/height center\n"
      "set xlabel 'Layer' offset 0,0.8; set ylabel {} offset 1.2,0\n"
      "set xrange [-0.5:{}]; set xtics 0, {} offset 0,0.3\n"
      "set grid xtics ytics ls 100; unset key\n"
      "set lmargin at screen 0.17; set rmargin at screen 0.97; set tmargin at screen 1-0.21/height\n"
      "set bmargin at screen 0.575/height\n",
      script_text(title_of(sheet.report, sheet.input, "")), script_text(y_label),
      static_cast<double>(layers) - 0.5, label_step(layers));
  if (untold) f.settings += untold_layers(sheet.data());
  return f;
}

double entry(const std::vector<double>& list, size_t i) {
  return i < list.size() ? list[i] : results::kNone;
}

/// The first `count` of top3_mean, and the median.
template <typename T>
Figure top_by_layer(const Sheet& sheet, const std::string& shows, const char* y_label,
                    const Layers<T>& layers, size_t count) {
  Figure f = over_layers(sheet, shows, y_label);
  std::vector<std::vector<double>> rows;
  for (const T* layer : layers) {
    std::vector<double> row;
    for (size_t i = 0; i < count; ++i) row.push_back(entry(layer->top3_mean, i));
    row.push_back(layer->median);
    rows.push_back(row);
  }
  std::vector<std::string> names = {"Top 1", "Top 2", "Top 3"};
  names.resize(count);
  names.emplace_back("Median");
  add_lines(f, "the largest values, median", rows, names, "series");
  return f;
}

/// Indices that come first in every layer, as points; those that come first in many layers are named.
Figure index_by_layer(const Sheet& sheet, const std::string& shows, const char* y_label, int64_t end,
                      const std::vector<std::vector<double>>& rows, const std::vector<std::string>& names,
                      bool untold) {
  const int64_t all = sheet.data().model.layers;
  Figure f = over_layers(sheet, shows, y_label, untold);
  std::map<double, int64_t> layers;
  for (const auto& row : rows) {
    for (size_t i = 0; i < std::min<size_t>(2, row.size()); ++i) {
      if (std::isfinite(row[i])) ++layers[row[i]];
    }
  }
  std::vector<std::pair<int64_t, double>> often;
  for (const auto& [index, count] : layers) {
    if (count > 1 || all == 1) often.emplace_back(-count, index);
  }
  std::sort(often.begin(), often.end());
  often.resize(std::min<size_t>(often.size(), 4));
  std::vector<Mark> marks;
  for (const auto& [count, index] : often) marks.push_back({index, index, fmt::format("{:g}", index)});
  const auto last = static_cast<double>(std::max<int64_t>(end - 1, 1));
  spread(marks, 0.075 * last, last);
  f.data = layer_table("the first indices", rows) + "\n\n" + mark_block(marks);
  f.settings +=
      fmt::format("set yrange [0:{:g}]; set rmargin at screen {}\n", last, marks.empty() ? 0.97 : 0.87);
  f.plot = "  plot ";
  constexpr std::array kShapes = {7, 5, 9};
  std::vector<Entry> legend;
  for (size_t i = names.size(); i-- > 0;) {  // the first on top
    const std::string color = fmt::format("series[{}]", i + 1);
    legend.insert(legend.begin(), {names[i], color, kShapes[i], nullptr});
    f.plot += fmt::format("data index 0 using 1:{} with points pt {} ps 0.4 lc rgb {}, \\\n    ", i + 2,
                          kShapes[i], color);
  }
  add_legend(f, legend, legend.size());
  f.plot += fmt::format("data index 1 using ({}):2:3 with labels noenhanced left offset 0.8,0 font bold\n",
                        static_cast<double>(all) - 0.5);
  return f;
}

/// Mean, least and most of some finite values.
std::vector<double> extent_of(const std::vector<double>& values) {
  double sum = 0, low = INFINITY, high = -INFINITY;
  int count = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  return {sum / count, low, high};
}

}  // namespace

std::optional<Figure> activations_by_layer(const Sheet& sheet, const char* point) {
  const auto layers = activation_layers(sheet.data(), *sheet.input, point);
  if (layers.empty()) return std::nullopt;
  return top_by_layer(sheet, fmt::format("the largest abs of {}, mean over sequences, by layer", point),
                      point == std::string_view("down_in") ? "|down_in|" : "|resid_out|", layers, 3);
}

std::optional<Figure> scores_by_layer(const Sheet& sheet) {
  const auto layers = attention_layers(sheet.data(), *sheet.input);
  if (layers.empty()) return std::nullopt;
  return top_by_layer(sheet, "the largest accumulated scores, mean over sequences, by layer",
                      "Accumulated score", layers, 2);
}

std::optional<Figure> channels_by_layer(const Sheet& sheet, const char* point) {
  const auto layers = activation_layers(sheet.data(), *sheet.input, point);
  if (layers.empty()) return std::nullopt;
  std::vector<std::vector<double>> rows;
  for (const results::Activations* layer : layers) {
    std::vector<double> row(2, results::kNone);
    for (size_t i = 0; i < std::min<size_t>(2, layer->top_channels.size()); ++i)
      row[i] = static_cast<double>(layer->top_channels[i].channel);
    rows.push_back(row);
  }
  const bool down = point == std::string_view("down_in");
  const results::Model& m = sheet.data().model;
  return index_by_layer(sheet,
                        fmt::format("the two channels with the largest values on {}, by layer",
                                    the_input(sheet.data(), *sheet.input)),
                        down ? "Neuron" : "Channel", down ? m.mlp_width : m.width, rows, {"Top 1", "Top 2"},
                        true);
}

std::optional<Figure> columns_by_layer(const Sheet& sheet) {
  const auto layers = weight_layers(sheet.data());
  if (layers.empty()) return std::nullopt;
  std::vector<std::vector<double>> rows;
  for (const results::Weights* layer : layers) {
    const auto& tops = layer->modules.find("down")->top_columns;
    std::vector<double> row(3, results::kNone);
    for (size_t i = 0; i < std::min<size_t>(3, tops.size()); ++i)
      row[i] = static_cast<double>(tops[i].column);
    rows.push_back(row);
  }
  return index_by_layer(sheet, "the three columns of down_proj with the largest max/mean, by layer",
                        "Column of down_proj", sheet.data().model.mlp_width, rows,
                        {"Top 1", "Top 2", "Top 3"}, false);
}

std::optional<Figure> weights_by_layer(const Sheet& sheet) {
  const auto layers = weight_layers(sheet.data());
  if (layers.empty()) return std::nullopt;
  Figure f = over_layers(sheet, "the largest max/mean over rows and columns of each projection",
                         "Max / mean of |W|", false);
  std::vector<std::vector<double>> rows;
  for (const results::Weights* layer : layers) {
    std::vector<double> row;
    for (const char* module : kShownModules) {
      const results::Weight* weight = layer->modules.find(module);
      row.push_back(weight == nullptr ? results::kNone : weight->score);
    }
    row.push_back(extent_of(row).front());
    rows.push_back(row);
  }
  f.height = 2.5;
  f.settings += "set bmargin at screen 0.73/height\n";
  std::vector<std::string> names(std::begin(kShownModules), std::end(kShownModules));
  const std::string head = fmt::format("score of {}; their mean", fmt::join(names, ", "));
  names.emplace_back("mean");
  add_lines(f, head.c_str(), rows, names, "modules");
  return f;
}

std::optional<Figure> heads_by_layer(const Sheet& sheet) {
  const auto layers = attention_layers(sheet.data(), *sheet.input);
  if (layers.empty()) return std::nullopt;
  Figure f =
      over_layers(sheet, "share of each head's probability on outlier keys: mean, least and most over heads",
                  "Share on outlier keys");
  std::vector<std::vector<double>> rows;
  for (const results::Attention* layer : layers) {
    std::vector<double> shares;
    for (const results::Head& head : layer->heads) shares.push_back(head.outlier_share);
    rows.push_back(extent_of(shares));
  }
  f.data = layer_table("mean, least, most", rows);
  f.settings += "set yrange [-0.02:1.02]; set ytics 0.2\n";
  f.plot =
      "  plot data using 1:2:3:4 with yerrorbars pt 7 ps 0.1 lw 1 lc rgb series[2], \\\n"
      "    data using 1:2 with points pt 7 ps 0.45 lc rgb series[1]\n";
  add_legend(f, {{"Mean over heads", "series[1]", 7, nullptr}, {"Least to most", "series[2]", -1, "lw 1"}},
             2);
  return f;
}

std::optional<Figure> norms_by_layer(const Sheet& sheet) {
  const auto layers = norm_layers(sheet.data(), *sheet.input);
  if (layers.empty()) return std::nullopt;
  Figure f = over_layers(sheet, "L2 norms of resid_out over all images, by layer", "L2 norm");
  const bool registers = layers.front()->registers.has_value();
  std::vector<std::vector<double>> rows;
  for (const results::Norms* layer : layers) {
    std::vector<double> row = {layer->patches.max, layer->cls.median};
    if (registers) row.push_back(layer->registers->median);
    row.push_back(layer->patches.median);
    rows.push_back(row);
  }
  std::vector<std::string> names = {"Top patch", "CLS", "Registers", "Median"};
  if (!registers) names.erase(names.begin() + 2);
  add_lines(f, "largest patch, medians of CLS, registers (where there are some) and patches", rows, names,
            "series");
  return f;
}

std::optional<Figure> value_by_layer(const Sheet& sheet, const MeasuredValue& value) {
  const results::Results& r = sheet.data();
  std::vector<std::vector<double>> rows(r.layers.size());
  std::vector<std::string> names;
  for (const results::Input& input : r.inputs) {
    const auto values = values_by_layer(r, input, value);
    if (values.empty() || names.size() == kMostLines) continue;
    for (size_t l = 0; l < rows.size(); ++l) rows[l].push_back(values[l].front());
    names.push_back(shorten(printable(input.name), 12));
  }
  if (names.empty()) return std::nullopt;
  const std::string title = printable(value.what->title.empty() ? value.name : value.what->title, 80);
  Figure f = over_layers(sheet, title + ", by layer", shorten(title, 30));
  add_lines(f, "by input", rows, names, "modules", false);
  return f;
}

}  // namespace outliers::report
