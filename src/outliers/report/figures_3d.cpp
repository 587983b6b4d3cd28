#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/figure_kinds.h"
#include "outliers/report/figure_parts.h"

namespace outliers::report {
namespace {

/// Lines of a 3D figure have at most this many points: the largest value of each part of the channels, at its
/// own channel. More cannot be seen, and would make the PDF slow.
constexpr int64_t kPoints3d = 400;
/// Channels and rows with a label: at least this part of the figure's largest value, at most so many.
constexpr double kMarkShare = 0.2;
constexpr size_t kMarks = 4;

struct Line3d {
  double x;
  at::Tensor values;  // [C] float32, abs is drawn
  std::string label;  // empty: none
  bool outlier;
};

struct Lines3d {
  std::string title;
  std::vector<Line3d> lines;  // by x
  int64_t length;             // C
  std::string plain;          // the palette's colour for lines without outliers
};

Figure draw_3d(std::string name, std::string shows, const Lines3d& l) {
  Figure f{std::move(name), std::move(shows)};
  const bool wide = l.lines.size() > 12;
  f.width = wide ? kDoubleInches : kSingleInches;
  f.height = wide ? 4.2 : 2.75;

  // Channels to name: the largest values, one name a channel.
  std::map<int64_t, double> peaks;
  double max = 0;
  std::string lines;
  for (const Line3d& line : l.lines) {
    for (const auto& [channel, value] : outline(line.values.abs(), kPoints3d)) {
      lines += fmt::format("{:g}\t{}\t{}\t{}\n", line.x, channel, data_number(value), line.outlier ? 1 : 0);
      if (!std::isfinite(value)) continue;
      max = std::max(max, value);
      double& peak = peaks[channel];
      peak = std::max(peak, value);
    }
    lines += "\n\n";
  }
  std::vector<Mark> marks = named_peaks(peaks, max, kMarkShare, kMarks);
  const auto end = static_cast<double>(std::max<int64_t>(l.length - 1, 1));
  spread(marks, (wide ? 0.1 : 0.2) * end, 0.86 * end);  // above stands the 0 of the third axis

  for (const bool outlier : {false, true}) {
    std::vector<std::pair<double, std::string>> labels;
    for (const Line3d& line : l.lines) {
      if (!line.label.empty() && line.outlier == outlier) labels.emplace_back(line.x, line.label);
    }
    f.data += text_block(outlier ? "outliers: x, label" : "others: x, label", labels);
  }
  f.data += mark_block(marks) + "# one block a line: x, channel, abs value, outlier\n" + lines;

  const double first = l.lines.front().x - 0.7, last = l.lines.back().x + 0.7;
  const double top = max > 0 ? max * 1.05 : 1;
  f.settings = fmt::format(
      "x0 = {:g}; x1 = {:g}; y1 = {:g}; z1 = {:g}  # ends of the axes\n"
      "set xrange [x0:x1]\nset yrange [0:y1]\nset zrange [0:z1]\n"
      "unset border; unset xtics; unset ytics; unset ztics; unset key\n"
      "set xyplane 0\nset view 62, 36, 1, 1.05\n"
      "set lmargin at screen {}; set rmargin at screen {}; set bmargin at screen {}; set tmargin at screen "
      "{}\n",
      first, last, end, top, wide ? 0.18 : 0.20, wide ? 0.80 : 0.78, wide ? 0.28 : 0.24, 0.78);
  f.settings += fmt::format("set label 1 {} at screen 0.5, 0.96 center\n", script_text(l.title));
  f.settings += box_walls("0");
  for (const double z : ticks(top)) f.settings += box_line(z, 0.6);
  for (const Line3d& line : l.lines) {
    if (!line.label.empty())
      f.settings += fmt::format("set arrow from {0:g},y1,0 to {0:g},y1,z1 as 1\n", line.x);
  }
  for (const Mark& m : marks)
    f.settings += fmt::format("set arrow from x0,{0:g},0 to x1,{0:g},0 as 1\n", m.at);
  f.plot = fmt::format(
      "  splot data index 3:{} using 1:2:3:(int($4) == 1 ? outlier : {}) with lines lw 1.3 lc rgb variable, "
      "\\\n"
      "    data index 0 using 1:(0):(0):2 with labels noenhanced rotate by 45 right offset 0.3,-0.4,0, \\\n"
      "    data index 1 using 1:(0):(0):2 with labels noenhanced rotate by 45 right offset 0.3,-0.4,0 "
      "textcolor "
      "rgb outlier font bold, \\\n"
      "    data index 2 using (x1):2:(0):3 with labels noenhanced left offset 0.7,-0.2,0 font bold\n",
      l.lines.size() + 2, l.plain);
  return f;
}

}  // namespace

std::optional<Figure> activations_3d(const Sheet& sheet, const char* point, int64_t layer) {
  const Results& r = sheet.report;
  const results::Input& prompt = *sheet.input;
  const int64_t count = std::min(prompt.kept_tokens, kShownTokens);
  if (count == 0 || !r.has(point, &prompt)) return std::nullopt;
  const at::Tensor values = r.array(point, &prompt)[layer];
  const std::vector<int64_t> outliers = outlier_tokens(r, prompt, point, layer);
  const std::vector<std::string> labels = labels_of(prompt, count, 24, outliers);
  Lines3d l;
  l.title =
      title_of(r, &prompt, fmt::format("layer {}{}", layer, first_tokens(count, prompt.tokens_per_sequence)));
  l.length = values.size(1);
  l.plain = "plain";
  for (int64_t t = 0; t < count; ++t)
    l.lines.push_back(
        {static_cast<double>(t), values[t], labels[static_cast<size_t>(t)], contains(outliers, t)});
  return draw_3d(sheet.name, fmt::format("abs of {} by token and channel", point), l);
}

std::optional<Figure> columns_3d(const Sheet& sheet, int64_t layer) {
  const Results& r = sheet.report;
  const auto weights = weight_layers(r.data);
  if (weights.empty() || !r.has("weights.down.columns")) return std::nullopt;
  const at::Tensor columns = r.array("weights.down.columns")[layer],
                   numbers = r.array("weights.down.column_index")[layer];
  const auto& tops = weights[static_cast<size_t>(layer)]->modules.find("down")->top_columns;
  const int64_t top = tops.empty() ? -1 : tops[0].column, end = r.data.model.mlp_width - 1;
  Lines3d l;
  l.title = title_of(r, nullptr, fmt::format("layer {}", layer));
  l.length = columns.size(1);
  l.plain = "weight";
  double x = 0;
  int64_t before = -1;
  for (int64_t i = 0; i < numbers.size(0); ++i) {
    const int64_t c = numbers[i].item<int64_t>();
    if (c < 0 || !(c < 3 || std::abs(c - top) <= 1 || c == end)) continue;
    if (c > before + 1) x += 1;  // a gap for the columns between
    l.lines.push_back({x++, columns[i], c < 3 || c == top || c == end ? fmt::format("{}", c) : "", c == top});
    before = c;
  }
  require(!l.lines.empty(), "{}: weights.down.column_index names no column of layer {}", r.directory.string(),
          layer);
  return draw_3d(sheet.name, "abs of columns of down_proj, by column and row", l);
}

std::vector<int64_t> heaviest_layers(const results::Results& r, int64_t except) {
  std::vector<std::pair<double, int64_t>> scores;
  const auto weights = weight_layers(r);
  for (size_t l = 0; l < weights.size(); ++l) {
    const double score = weights[l]->modules.find("down")->score;
    if (static_cast<int64_t>(l) != except && std::isfinite(score))
      scores.emplace_back(-score, static_cast<int64_t>(l));
  }
  std::sort(scores.begin(), scores.end());
  std::vector<int64_t> layers;
  for (const auto& [score, layer] : scores) layers.push_back(layer);
  return layers;
}

}  // namespace outliers::report
