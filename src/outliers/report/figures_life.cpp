// Flow diagrams of an outlier's life: the points of an MLP or of a head of attention, signed, with the
// weights that matter and arrows between them.
#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/figure_kinds.h"
#include "outliers/report/figure_parts.h"
#include "outliers/report/lifecycle_text.h"

namespace outliers::report {
namespace {

/// Tokens of a panel, how many have labels, and points of a line: the largest by abs of each part of the
/// channels.
constexpr int64_t kTokens = 16, kLabels = 6, kPoints = 300;
/// Channels with a label: at least this part of the panel's largest value, at most so many.
constexpr double kMarkShare = 0.3;
constexpr size_t kMarks = 2;
constexpr double kWidth = 14.5, kHeight = 6.8;
/// Half of a map, and half of what gnuplot is given for a box, which is half as wide again; of the figure.
constexpr double kMapWidth = 0.052, kMapHeight = 0.085, kBoxWidth = 0.037, kBoxHeight = 0.066;
/// From a panel's middle to where arrows end and begin.
constexpr double kIn = 0.056, kOut = 0.072;

struct Line {
  double x;
  at::Tensor values;  // [C]
  std::string label;  // empty: none
  bool outlier;
};

struct Panel {
  std::string title;
  double x, y;  // its middle, of the figure
  std::vector<Line> lines;
  const char* plain = "plain";
};

/// A diagram while it grows: the background's arrows and boxes first, then a plot a panel.
class Flow {
 public:
  Flow(const Sheet& sheet, std::string shows, const std::string& title)
      : f_{sheet.name, std::move(shows), kWidth, kHeight} {
    f_.settings = "unset key; unset border; unset xtics; unset ytics; unset ztics; unset colorbox\n";
    background_ = fmt::format("set label {} at screen 0.01, 0.97 left\n", script_text(title));
  }

  void arrow(std::vector<std::pair<double, double>> way) {
    for (size_t i = 1; i < way.size(); ++i) {
      background_ += fmt::format(
          "set arrow from screen {:.4f},{:.4f} to screen {:.4f},{:.4f} {} lc rgb '#222222' lw 1.5\n",
          way[i - 1].first, way[i - 1].second, way[i].first, way[i].second,
          i + 1 == way.size() ? "filled size screen 0.008,20" : "nohead");
    }
  }
  void box(double x, double y, const std::string& text) {
    background_ += fmt::format(
        "set object rectangle center screen {0:.4f},{1:.4f} size screen 0.04,0.085 fs solid 1 border rgb "
        "'#6a93c4' fc "
        "rgb '#dbe8f8'\nset label {2} at screen {0:.4f},{1:.4f} center front\n",
        x, y, script_text(text));
  }
  void sign(double x, double y, const char* text) {
    background_ += fmt::format(
        "set object circle at screen {0:.4f},{1:.4f} size screen 0.009 fs solid 1 border rgb '#6a93c4' fc "
        "rgb "
        "'#dbe8f8'\nset label '{2}' at screen {0:.4f},{1:.4f} center front\n",
        x, y, text);
  }
  void text(double x, double y, const char* text) {
    background_ += fmt::format("set label '{}' at screen {:.4f},{:.4f} center font bold\n", text, x, y);
  }

  void add(const Panel& panel);
  /// rows x columns, NaN cells are left out; labels of the first tokens.
  void add_map(const std::string& title, double x, double y, const at::Tensor& cells,
               const std::vector<std::string>& labels);

  Figure take() {
    f_.plot =
        "  set multiplot\n  unset label; unset arrow; unset object\n"
        "  set lmargin at screen 0; set rmargin at screen 1; set bmargin at screen 0; set tmargin at screen "
        "1\n"
        "  set xrange [0:1]; set yrange [0:1]\n" +
        background_ + "  plot NaN notitle\n" + panels_ + "  unset multiplot\n";
    return std::move(f_);
  }

 private:
  void begin(const std::string& title, double x, double y, double width, double height) {
    panels_ += fmt::format(
        "unset label; unset arrow; unset object\n"
        "set lmargin at screen {:.4f}; set rmargin at screen {:.4f}; set bmargin at screen {:.4f}; set "
        "tmargin at screen "
        "{:.4f}\nset label 1 {} at screen {:.4f},{:.4f} center font bold\n",
        x - width, x + width, y - height, y + height, script_text(title), x, y + 0.12);
  }

  Figure f_;
  std::string background_, panels_;
  int blocks_ = 0;  // of data
};

void Flow::add(const Panel& panel) {
  double max = 0;
  std::map<int64_t, double> peaks;
  std::string rows;
  for (const Line& line : panel.lines) {
    for (const auto& [channel, value] : outline(line.values, kPoints)) {
      rows += fmt::format("{:g}\t{}\t{}\t{}\n", line.x, channel, data_number(value), line.outlier ? 1 : 0);
      if (!std::isfinite(value)) continue;
      max = std::max(max, std::abs(value));
      peaks[channel] = std::max(peaks[channel], std::abs(value));
    }
    rows += "\n\n";
  }
  const int64_t length = panel.lines.front().values.numel();
  const double top = max > 0 ? max * 1.05 : 1, end = static_cast<double>(std::max<int64_t>(length - 1, 1)),
               first = panel.lines.front().x - 0.7, last = panel.lines.back().x + 0.7;
  std::vector<Mark> marks = named_peaks(peaks, max, kMarkShare, kMarks);
  spread(marks, 0.3 * end, 0.9 * end);

  f_.data += fmt::format("# {}\n", panel.title);
  for (const bool outlier : {false, true}) {
    std::vector<std::pair<double, std::string>> labels;
    for (const Line& line : panel.lines)
      if (!line.label.empty() && line.outlier == outlier) labels.emplace_back(line.x, line.label);
    f_.data += text_block(outlier ? "outliers: x, label" : "others: x, label", labels);
  }
  f_.data += mark_block(marks) + "# one block a line: x, channel, value, outlier\n" + rows;

  begin(panel.title, panel.x, panel.y, kBoxWidth, kBoxHeight);
  panels_ += fmt::format(
      "x0 = {:g}; x1 = {:g}; y1 = {:g}; z1 = {:g}\n"
      "set xrange [x0:x1]; set yrange [0:y1]; set zrange [-z1:z1]; set xyplane at -z1; set view 62, 36, 1.3, "
      "1.05\n",
      first, last, end, top);
  const double tick = ticks(max > 0 ? max : 1).back();
  panels_ += box_walls("-z1");
  for (const double z : {-tick, 0.0, tick}) panels_ += box_line(z, 0.4);
  const int lines = blocks_ + 3;
  panels_ += fmt::format(
      "splot data index {}:{} using 1:2:3:(int($4) == 1 ? outlier : {}) with lines lw 1 lc rgb variable "
      "notitle, \\\n"
      "  data index {} using 1:(0):(-z1):2 with labels noenhanced rotate by 45 right offset 0.3,-0.3,0 "
      "notitle, \\\n"
      "  data index {} using 1:(0):(-z1):2 with labels noenhanced rotate by 45 right offset 0.3,-0.3,0 font "
      "bold "
      "notitle, \\\n"
      "  data index {} using (x1):2:(-z1):3 with labels noenhanced left offset 0.5,-0.3,0 font bold "
      "notitle\n",
      lines, lines + static_cast<int>(panel.lines.size()) - 1, panel.plain, blocks_, blocks_ + 1,
      blocks_ + 2);
  blocks_ = lines + static_cast<int>(panel.lines.size());
}

void Flow::add_map(const std::string& title, double x, double y, const at::Tensor& cells,
                   const std::vector<std::string>& labels) {
  const int64_t n = cells.size(0);
  f_.data += fmt::format("# {}: key, query, value\n", title);
  const at::Tensor wide = cells.to(at::kDouble).contiguous();
  const auto at = wide.accessor<double, 2>();
  double low = INFINITY, high = -INFINITY;
  for (int64_t q = 0; q < n; ++q) {
    for (int64_t k = 0; k < n; ++k) {
      const double cell = at[q][k];
      if (!std::isfinite(cell)) continue;
      f_.data += fmt::format("{}\t{}\t{}\n", k, q, data_number(cell));
      low = std::min(low, cell);
      high = std::max(high, cell);
    }
  }
  if (!(high > low)) high = (low = std::isfinite(low) ? low : 0) + 1;
  f_.data += "\n\n";
  std::vector<std::pair<double, std::string>> rows;
  for (size_t t = 0; t < labels.size(); ++t)
    if (!labels[t].empty()) rows.emplace_back(static_cast<double>(t), labels[t]);
  f_.data += text_block("tokens: place, label", rows);
  begin(title, x, y, kMapWidth, kMapHeight);
  panels_ += fmt::format(
      "set xrange [-0.5:{0}-0.5]; set yrange [{0}-0.5:-0.5]; set cbrange [{6:g}:{7:g}]\n"
      "set colorbox user origin screen {1:.4f}, screen {2:.4f} size screen 0.006, screen {3:.4f} noborder; "
      "set cbtics "
      "('{8}' {6:g}, '{9}' {7:g}) scale 0.2 offset -0.8,0\n"
      "plot data index {4} using 1:2:(0.5):(0.5):3 with boxxyerror fs solid noborder fc palette notitle, \\\n"
      "  data index {5} using 1:({0}-0.5):2 with labels noenhanced rotate by 90 right offset 0,-0.4 notitle, "
      "\\\n"
      "  data index {5} using (-0.5):1:2 with labels noenhanced right offset -0.4,0 notitle\nunset "
      "colorbox\n",
      n, x + kMapWidth + 0.004, y - kMapHeight, 2 * kMapHeight, blocks_, blocks_ + 1, low, high,
      tick_text(std::round(low * 10) / 10), tick_text(std::round(high * 10) / 10));
  blocks_ += 2;
}

/// The arrays of a part of a prompt's life as panels.
class Panels {
 public:
  Panels(const Sheet& sheet, std::string part, std::vector<int64_t> outliers)
      : r_(sheet.report), prompt_(*sheet.input), part_(std::move(part)), outliers_(std::move(outliers)) {
    count_ = std::min(results::kLifeTokens, std::min(prompt_.tokens_per_sequence, kTokens));
    labels_ = labels_of(prompt_, count_, kLabels, outliers_);
  }

  bool has(const std::string& name) const { return r_.has(full(name), &prompt_); }
  at::Tensor array(const std::string& name) const { return r_.array(full(name), &prompt_); }
  int64_t count() const { return count_; }
  const std::vector<std::string>& labels() const { return labels_; }

  Panel tokens(const std::string& title, const std::string& name, double x, double y) const {
    const at::Tensor values = array(name);
    Panel panel{title, x, y, {}};
    for (int64_t t = 0; t < count_; ++t) {
      panel.lines.push_back(
          {static_cast<double>(t), values[t], labels_[static_cast<size_t>(t)], contains(outliers_, t)});
    }
    return panel;
  }
  Panel lines(const std::string& title, const std::string& name, double x, double y, int64_t chosen) const {
    const at::Tensor values = array(name), numbers = array("neurons");
    Panel panel{title, x, y, {}, "weight"};
    double place = 0;
    int64_t before = -1;
    for (int64_t i = 0; i < numbers.size(0); ++i) {
      const int64_t n = numbers[i].item<int64_t>();
      if (n < 0) continue;
      if (n > before + 1) place += 1;  // a gap for those between
      const bool named = n < 3 ? n == 0 || n == chosen : n == chosen;
      panel.lines.push_back({place++, values[i], named ? fmt::format("{}", n) : "", n == chosen});
      before = n;
    }
    return panel;
  }

 private:
  std::string full(const std::string& name) const { return fmt::format("life.{}.{}", part_, name); }

  const Results& r_;
  const results::Input& prompt_;
  std::string part_;
  std::vector<int64_t> outliers_;
  int64_t count_ = 0;
  std::vector<std::string> labels_;
};

const results::PromptLife* life_of_sheet(const Sheet& sheet) {
  return prompt_life(sheet.data(), *sheet.input);
}

}  // namespace

std::optional<Figure> mlp_flow(const Sheet& sheet, const char* part) {
  const results::PromptLife* life = life_of_sheet(sheet);
  const std::optional<int64_t> layer = life == nullptr ? std::nullopt : life->choice(part);
  if (!layer || !sheet.report.has(fmt::format("life.{}.resid_mid", part), sheet.input)) return std::nullopt;
  const bool born = std::string_view(part) == "born";
  // Removal is drawn by what leads its MLP's sum, birth by what was chosen.
  int64_t neuron = born ? life->choice("neuron").value_or(-1) : -1;
  if (!born && life->disappearance) {
    for (const results::LayerContributions& one : life->disappearance->layers)
      if (one.layer == *layer && !one.neurons.empty()) neuron = one.neurons.front().neuron;
  }
  std::vector<int64_t> outliers = {*life->choice("token")};
  Panels panels(sheet, part, outliers);
  const bool gated = panels.has("gate_out");
  Flow flow(sheet, fmt::format("the MLP of layer {}: signed values by token and channel", *layer),
            title_of(sheet.report, sheet.input,
                     fmt::format("layer {}: {}", *layer, born ? "emergence" : "disappearance"), 90));
  constexpr double kMiddle = 0.5, kAbove = 0.825, kBelow = 0.175;
  const double in_x = 0.075, norm_x = 0.178, normed_x = 0.27, product_x = 0.43, times_x = 0.522,
               down_x = 0.61, out_x = 0.755, plus_x = 0.845, end_x = 0.925;
  flow.box(norm_x, kMiddle, "norm");
  flow.arrow({{in_x + kOut, kMiddle}, {norm_x - 0.02, kMiddle}});
  flow.arrow({{norm_x + 0.02, kMiddle}, {normed_x - kIn, kMiddle}});
  const double fork_x = normed_x + kOut + 0.012, product_edge = product_x - kIn;
  flow.text(normed_x, (kMiddle + kAbove) / 2 - 0.015, "×");
  flow.arrow({{normed_x + kOut, kMiddle}, {fork_x, kMiddle}, {fork_x, kAbove}, {product_edge, kAbove}});
  if (gated) {
    flow.text(normed_x, (kMiddle + kBelow) / 2 - 0.015, "×");
    flow.arrow({{fork_x, kMiddle}, {fork_x, kBelow}, {product_edge, kBelow}});
    flow.arrow({{product_x, kBelow + 0.14}, {product_x, kMiddle - 0.135}});
    flow.arrow({{product_x + kOut, kMiddle}, {times_x - 0.01, kMiddle}});
    flow.sign(times_x, kMiddle, "·");
    flow.arrow({{product_x + kOut, kAbove}, {times_x, kAbove}, {times_x, kMiddle + 0.022}});
    flow.arrow({{times_x + 0.01, kMiddle}, {down_x - kIn, kMiddle}});
  } else {
    flow.arrow({{product_x, kAbove - 0.135}, {product_x, kMiddle + 0.14}});
    flow.arrow({{product_x + kOut, kMiddle}, {down_x - kIn, kMiddle}});
  }
  flow.text(down_x, (kMiddle + kBelow) / 2 - 0.015, "×");
  flow.arrow({{down_x + kOut, kMiddle}, {out_x - kIn, kMiddle}});
  flow.arrow({{out_x + kOut, kMiddle}, {plus_x - 0.01, kMiddle}});
  flow.sign(plus_x, kMiddle, "+");
  flow.arrow({{plus_x + 0.01, kMiddle}, {end_x - kIn, kMiddle}});
  flow.arrow({{in_x, kMiddle - 0.16}, {in_x, 0.03}, {plus_x, 0.03}, {plus_x, kMiddle - 0.022}});

  flow.add(panels.tokens("resid_mid", "resid_mid", in_x, kMiddle));
  flow.add(panels.tokens("mlp_norm_out", "mlp_norm_out", normed_x, kMiddle));
  flow.add(panels.lines("up_proj", "up_rows", normed_x, kAbove, neuron));
  flow.add(panels.tokens("up_out", "up_out", product_x, kAbove));
  if (gated) {
    flow.add(panels.lines("gate_proj", "gate_rows", normed_x, kBelow, neuron));
    flow.add(panels.tokens("gate_out", "gate_out", product_x, kBelow));
  }
  flow.add(panels.tokens("act_out", "act_out", product_x, kMiddle));
  flow.add(panels.tokens("down_in", "down_in", down_x, kMiddle));
  flow.add(panels.lines("down_proj", "down_columns", down_x, kBelow, neuron));
  flow.add(panels.tokens("down_out", "down_out", out_x, kMiddle));
  flow.add(panels.tokens("resid_out", "resid_out", end_x, kMiddle));
  return flow.take();
}

std::optional<Figure> head_flow(const Sheet& sheet) {
  const results::PromptLife* life = life_of_sheet(sheet);
  const std::optional<int64_t> layer = life == nullptr ? std::nullopt : life->choice("spread");
  if (!layer || !sheet.report.has("life.spread.resid_in", sheet.input)) return std::nullopt;
  std::vector<int64_t> outliers;
  for (const results::LayerSpread& one : life->spread)
    if (one.layer == *layer) outliers = one.tokens;
  Panels panels(sheet, "spread", outliers);
  Flow flow(sheet, fmt::format("a head of layer {}: signed values by token and channel", *layer),
            title_of(sheet.report, sheet.input,
                     fmt::format("layer {}, head {}: spread", *layer, life->choice("head").value_or(0)), 90));
  constexpr double kMiddle = 0.5, kAbove = 0.825, kBelow = 0.175;
  const double in_x = 0.075, norm_x = 0.178, normed_x = 0.27, head_x = 0.48, logits_x = 0.7, probs_x = 0.9;
  const double fork_x = normed_x + kOut + 0.02;
  flow.box(norm_x, kMiddle, "norm");
  flow.arrow({{in_x + kOut, kMiddle}, {norm_x - 0.02, kMiddle}});
  flow.arrow({{norm_x + 0.02, kMiddle}, {normed_x - kIn, kMiddle}});
  flow.arrow({{normed_x + kOut, kMiddle}, {head_x - kIn, kMiddle}});
  flow.arrow({{fork_x, kMiddle}, {fork_x, kAbove}, {head_x - kIn, kAbove}});
  flow.arrow({{fork_x, kMiddle}, {fork_x, kBelow}, {head_x - kIn, kBelow}});
  flow.arrow({{head_x + kOut, kMiddle}, {logits_x - kMapWidth - 0.05, kMiddle}});
  flow.arrow({{head_x + kOut, kBelow}, {logits_x, kBelow}, {logits_x, kMiddle - 0.2}});
  flow.arrow({{logits_x + kOut, kMiddle}, {probs_x - kMapWidth - 0.05, kMiddle}});

  flow.add(panels.tokens("resid_in", "resid_in", in_x, kMiddle));
  flow.add(panels.tokens("attn_norm_out", "attn_norm_out", normed_x, kMiddle));
  flow.add(panels.tokens("value", "value", head_x, kAbove));
  flow.add(panels.tokens("query", "query", head_x, kMiddle));
  flow.add(panels.tokens("key", "key", head_x, kBelow));
  const auto first = [&](const char* name) {
    return panels.array(name).narrow(0, 0, panels.count()).narrow(1, 0, panels.count());
  };
  flow.add_map("attn_logits", logits_x, kMiddle, first("attn_logits"), panels.labels());
  flow.add_map("attn_probs", probs_x, kMiddle,
               at::where(first("attn_logits").isfinite(), first("attn_probs"), NAN), panels.labels());
  return flow.take();
}

}  // namespace outliers::report
