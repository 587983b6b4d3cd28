#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/report/figure_kinds.h"
#include "outliers/report/figure_parts.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

/// Cells with their colours beside, row by row.
struct Grid {
  int64_t rows, columns;
  const char *row_title, *column_title, *colours;
  double cell_inches;  ///< height; 0: as high as wide
  std::string second;  ///< line of the title
};

/// The step of 1, 2 or 5 x 10^n that divides `range` into at most `parts`.
double step_of(double range, double parts) {
  const double power = std::pow(10.0, std::floor(std::log10(range / parts)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power * parts >= range) return factor * power;
  }
  return 10 * power;
}

/// value(row, column)
template <typename F>
Figure draw_grid(const Sheet& sheet, const std::string& shows, const Grid& g, const char* head,
                 const std::string& title, const F& value) {
  Figure f{sheet.name, shows};
  f.data = fmt::format("# {}\n", head);
  double low = INFINITY, high = -INFINITY;
  for (int64_t row = 0; row < g.rows; ++row) {
    for (int64_t column = 0; column < g.columns; ++column) {
      const double cell = value(row, column);
      f.data += fmt::format("{}\t{}\t{}\n", row, column, data_number(cell));
      if (!std::isfinite(cell)) continue;
      low = std::min(low, cell);
      high = std::max(high, cell);
    }
  }
  // The plot is as wide as the column, and as high as its rows need.
  constexpr double kLeft = 0.12, kRight = 0.83, kBelow = 0.36, kLine = 0.16;
  const double above = g.second.empty() ? 0.24 : 0.24 + kLine;
  const double inches = g.cell_inches > 0 ? g.cell_inches * static_cast<double>(g.rows)
                                          : kSingleInches * (kRight - kLeft) * static_cast<double>(g.rows) /
                                                static_cast<double>(g.columns);
  f.height = std::clamp(inches, 0.5, 6.0) + kBelow + above;
  f.settings = fmt::format(
      "set xrange [-0.5:{0}-0.5]; set yrange [{1}-0.5:-0.5]; set cbrange {9}\n"
      "unset key; set border 0; set xtics {2} scale 0 offset 0,0.4; set ytics {3} scale 0 offset 0.5,0\n"
      "set xlabel '{10}' offset 0,1; set ylabel '{11}' offset 1.6,0\n"
      "set cbtics scale 0.3 offset -0.6,0\n"
      "set colorbox user origin graph 1.03, graph 0 size graph 0.035, graph 1 noborder\n"
      "set lmargin at screen {4}; set rmargin at screen {5}; set bmargin at screen {6}/height; set tmargin "
      "at screen "
      "1-{7}/height\n"
      "set label 1 {8} at screen 0.5, 1-0.1/height center\n",
      g.columns, g.rows, label_step(g.columns), label_step(g.rows), kLeft, kRight, kBelow, above,
      script_text(title_of(sheet.report, sheet.input, title)), g.colours, g.column_title, g.row_title);
  // gnuplot numbers a low box of colours as densely as a high one.
  constexpr double kNumber = 0.17;
  if (inches < 10 * kNumber && high > low)
    f.settings += fmt::format("set cbtics {:g}\n", step_of(high - low, std::max(inches, 0.5) / kNumber - 1));
  if (!g.second.empty()) {
    f.settings +=
        fmt::format("set label 2 {} at screen 0.5, 1-{}/height center\n", script_text(g.second), 0.1 + kLine);
  }
  f.plot = "  plot data using 2:1:(0.5):(0.5):3 with boxxyerror fs solid noborder fc palette\n";
  return f;
}

}  // namespace

std::optional<Figure> attention_map(const Sheet& sheet) {
  const Results& r = sheet.report;
  const results::Input& prompt = *sheet.input;
  if (!r.has("attention.probs_mean", &prompt)) return std::nullopt;
  const int64_t layer = sheet.chosen.after, count = std::min(prompt.tokens_per_sequence, kShownTokens);
  const std::vector<int64_t> outliers = outlier_tokens(r, prompt, "resid_out", sheet.chosen.born);
  const bool wide = count > 16, square = r.data.images.has_value();
  Figure f{sheet.name, fmt::format("attention probabilities of {}, mean over heads, query by key",
                                   the_input(r.data, prompt))};
  f.width = wide ? kDoubleInches : kSingleInches;
  f.height = wide ? 6.2 : 3.0;
  const at::Tensor probs = r.array("attention.probs_mean", &prompt)[layer].to(at::kDouble).contiguous();
  const auto p = probs.accessor<double, 2>();
  const std::vector<std::string> labels = labels_of(prompt, count, wide ? 40 : 16, outliers);
  for (const bool outlier : {false, true}) {
    std::vector<std::pair<double, std::string>> rows;
    for (int64_t t = 0; t < count; ++t) {
      const std::string& label = labels[static_cast<size_t>(t)];
      if (!label.empty() && contains(outliers, t) == outlier) rows.emplace_back(t, label);
    }
    f.data += text_block(outlier ? "outliers: place, label" : "others: place, label", rows);
  }
  f.data += "# query, key, probability\n";
  for (int64_t q = 0; q < count; ++q) {
    for (int64_t k = 0; k < (square ? count : q + 1); ++k)
      f.data += fmt::format("{}\t{}\t{}\n", q, k, data_number(p[q][k]));
  }
  f.settings = fmt::format(
      "n = {}\n"
      "set xrange [-0.5:n-0.5]; set yrange [n-0.5:-0.5]; set cbrange [0:{}\n"
      "unset xtics; unset ytics; unset border; unset key\n"
      "set cbtics {} scale 0.3 offset -0.6,0\n"
      "set colorbox user origin graph 1.03, graph 0 size graph 0.035, graph 1 noborder\n"
      "set lmargin at screen {}; set rmargin at screen {}; set bmargin at screen {}; set tmargin at screen "
      "{}\n"
      "set object 1 rectangle from graph 0,0 to graph 1,1 fs solid noborder fc rgb '#f2f2f2' behind\n"
      "set label 1 {} at screen 0.5, 0.965 center\n",
      // Without a causal mask every query spreads its probability over all keys.
      count, square ? "*]" : "1]", square ? "autofreq" : "0.2", wide ? 0.14 : 0.245, wide ? 0.90 : 0.87,
      wide ? 0.13 : 0.235, 0.925,
      script_text(title_of(
          r, &prompt, fmt::format("layer {}{}", layer, first_tokens(count, prompt.tokens_per_sequence)))));
  f.plot = "  plot data index 2 using 2:1:(0.5):(0.5):3 with boxxyerror fs solid noborder fc palette";
  for (const char* axis : {"(-0.5):1:2 with labels noenhanced right offset -0.4,0",
                           "1:(n-0.5):2 with labels noenhanced rotate by 60 right offset 0.5,-0.5"}) {
    f.plot += fmt::format(
        ", \\\n    data index 0 using {0}, \\\n    data index 1 using {0} textcolor rgb outlier font bold",
        axis);
  }
  f.plot += "\n";
  return f;
}

std::optional<Figure> norm_map(const Sheet& sheet) {
  const Results& r = sheet.report;
  if (!r.data.images || !r.has("resid_out.token_norm", sheet.input)) return std::nullopt;
  const results::Images& images = *r.data.images;
  const int64_t first = 1 + images.registers, layer = r.data.model.layers - 1;
  const at::Tensor norms =
      r.array("resid_out.token_norm", sheet.input)[layer][0].to(at::kDouble).contiguous();
  const auto norm = norms.accessor<double, 1>();
  const std::string whose =
      place_of(r.data, *sheet.input) == 0 ? "the first image" : printable(sheet.input->source, 40);
  return draw_grid(sheet, fmt::format("L2 norms of {}'s patches in the output of the last layer", whose),
                   {images.rows, images.columns, "Row", "Column of patches", "[0:*]", 0, ""},
                   "row, column, norm", fmt::format("layer {}", layer),
                   [&](int64_t row, int64_t column) { return norm[first + row * images.columns + column]; });
}

std::optional<Figure> value_map(const Sheet& sheet, const MeasuredValue& value) {
  const auto rows = values_by_layer(sheet.data(), *sheet.input, value);
  if (rows.empty()) return std::nullopt;
  const std::string title = printable(value.what->title.empty() ? value.name : value.what->title, 80);
  const Grid grid{static_cast<int64_t>(rows.size()),
                  sheet.data().model.heads,
                  "Layer",
                  "Head",
                  "[*:*]",
                  0.11,
                  shorten(title, 46)};
  return draw_grid(sheet, title + ", by layer and head", grid, "layer, head, value", "",
                   [&](int64_t layer, int64_t head) {
                     return rows[static_cast<size_t>(layer)][static_cast<size_t>(head)];
                   });
}

}  // namespace outliers::report
