#include "outliers/report/figures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/suggest.h"
#include "outliers/report/chosen_layers.h"
#include "outliers/report/format.h"
#include "outliers/report/whole.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

/// An outlier token: max over channels of abs x > this x mean of abs x (2502.06415), or one with a massive
/// activation: abs x > 100 and > this x median of abs x (2402.17762).
constexpr double kOutlierToken = 1000, kMassive = 100;
/// Lines of a 3D figure have at most this many points: the largest value of each part of the channels, at its
/// own channel. More cannot be seen, and would make the PDF slow.
constexpr int64_t kPoints3d = 400;
/// Channels and rows with a label: at least this part of the figure's largest value, at most so many.
constexpr double kMarkShare = 0.2;
constexpr size_t kMarks = 4;
/// Tokens that a figure of one token after another shows.
constexpr int64_t kShownTokens = 64;
/// A scale is logarithmic where the largest value is this many times the smallest.
constexpr double kLogSpan = 1000;

std::string title_of(const Results& r, const std::string& more, size_t columns = 46) {
  const std::string name = r.json["model"]["name"];
  const size_t rest = columns - std::min(columns - 8, more.size() + 2);
  return shorten(printable(name), rest) + (more.empty() ? "" : ", " + more);
}

bool of_images(const Results& r) {
  return r.json.contains("images");
}

// Tokens whose activations at the point are outliers of the layer, the largest first.
std::vector<int64_t> outlier_tokens(const Results& r, const char* point, int64_t layer) {
  const at::Tensor maxima = r.array(fmt::format("prompt.{}.token_max", point))[layer][0].to(at::kDouble);
  const ordered_json& all = r.json["activations"]["prompt"][point][static_cast<size_t>(layer)];
  const double paper = kOutlierToken * number_of(all["mean"]),
               massive = std::max(kMassive, kOutlierToken * number_of(all["median"]));
  std::vector<int64_t> tokens;
  for (int64_t t = 0; t < r.sizes.P; ++t) {
    const double max = maxima[t].item<double>();
    if (max > paper || max > massive) tokens.push_back(t);
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](int64_t a, int64_t b) { return maxima[a].item<double>() > maxima[b].item<double>(); });
  return tokens;
}

bool contains(const std::vector<int64_t>& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

/// A label beside an axis, moved from its value where it would stand on another.
struct Mark {
  double at, label_at;
  std::string text;
};

/// Moves labels apart to `distance`, keeping their order and staying within 0..end.
void spread(std::vector<Mark>& marks, double distance, double end) {
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.at < b.at; });
  for (size_t i = 1; i < marks.size(); ++i)
    marks[i].label_at = std::max(marks[i].label_at, marks[i - 1].label_at + distance);
  for (size_t i = marks.size(); i-- > 0;) {
    marks[i].label_at = std::min(marks[i].label_at, end);
    end = marks[i].label_at - distance;
  }
}

/// A block of places and texts; one that shows nothing where there are none, so that indices stay.
std::string text_block(const char* head, const std::vector<std::pair<double, std::string>>& rows) {
  std::string text = fmt::format("# {}\n", head);
  for (const auto& [at, label] : rows) text += fmt::format("{:g}\t{}\n", at, data_text(label));
  return text + (rows.empty() ? "NaN\t\"\"\n\n\n" : "\n\n");
}

std::string mark_block(const std::vector<Mark>& marks) {
  std::string text = "# named: value, where its label stands, text\n";
  for (const Mark& m : marks) text += fmt::format("{:g}\t{:g}\t{}\n", m.at, m.label_at, data_text(m.text));
  return text + (marks.empty() ? "NaN\tNaN\t\"\"\n\n\n" : "\n\n");
}

/// An entry of a legend: a sample and its text.
struct Entry {
  std::string text, color;
  int point;         // gnuplot's number; 0: a box, -1: none
  const char* line;  // style of the line through the point; nullptr: none
};

/// Draws the legend below a plot, in rows of `columns`. gnuplot's own key guesses the width of text, and for
/// every terminal differently.
void add_legend(Figure& f, const std::vector<Entry>& entries, size_t columns) {
  constexpr double kCharacter = 0.6 * 8 / 72, kSample = 0.2, kGap = 0.1, kRow = 0.155;  // inches
  columns = std::min(columns, entries.size());
  const size_t rows = (entries.size() + columns - 1) / columns;
  std::vector<double> widths(columns);
  for (size_t i = 0; i < entries.size(); ++i) {
    double& width = widths[i % columns];
    width =
        std::max(width, kSample + kCharacter * (0.7 + static_cast<double>(display_width(entries[i].text))));
  }
  const double all = std::accumulate(widths.begin(), widths.end(), kGap * static_cast<double>(columns - 1));
  double left = std::max(0.05, (f.width - all) / 2);
  for (size_t column = 0; column < columns; ++column) {
    for (size_t row = 0; row * columns + column < entries.size(); ++row) {
      const Entry& e = entries[row * columns + column];
      const double x = left / f.width, end = (left + kSample) / f.width,
                   y = (0.1 + kRow * static_cast<double>(rows - 1 - row)) / f.height;
      const auto corners = [&](double x0, double x1, double half) {
        return fmt::format("from screen {:.4f}, screen {:.4f} to screen {:.4f}, screen {:.4f}", x0,
                           y - half / f.height, x1, y + half / f.height);
      };
      if (e.line != nullptr)
        f.settings += fmt::format("set arrow {} nohead {} lc rgb {}\n", corners(x, end, 0), e.line, e.color);
      if (e.point > 0) {
        f.settings +=
            fmt::format("set label '' at screen {:.4f}, screen {:.4f} point pt {} ps 0.45 lc rgb {}\n",
                        (x + end) / 2, y, e.point, e.color);
      } else if (e.point == 0) {
        f.settings += fmt::format("set object rectangle {} fs solid noborder fc rgb {}\n",
                                  corners((x + end) / 2, end, 0.04), e.color);
      }
      f.settings += fmt::format("set label '{}' at screen {:.4f}, screen {:.4f} left\n", e.text,
                                end + 0.7 * kCharacter / f.width, y);
    }
    left += widths[column] + kGap;
  }
}

// --- 3D ---------------------------------------------------------------------------------------------------

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

// The largest abs of each part, at its own place; a part without a finite value is a gap.
std::vector<std::pair<int64_t, double>> outline(const at::Tensor& values) {
  const at::Tensor x = values.to(at::kDouble).abs().contiguous();
  const double* data = x.data_ptr<double>();
  const int64_t count = x.numel(), parts = std::min(count, kPoints3d);
  std::vector<std::pair<int64_t, double>> points;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t begin = count * p / parts, end = count * (p + 1) / parts;
    int64_t best = -1;
    for (int64_t i = begin; i < end; ++i) {
      if (std::isfinite(data[i]) && (best < 0 || data[i] > data[best])) best = i;
    }
    points.emplace_back(best < 0 ? begin : best, best < 0 ? NAN : data[best]);
  }
  return points;
}

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
    for (const auto& [channel, value] : outline(line.values)) {
      lines += fmt::format("{:g}\t{}\t{}\t{}\n", line.x, channel, data_number(value), line.outlier ? 1 : 0);
      if (!std::isfinite(value)) continue;
      max = std::max(max, value);
      double& peak = peaks[channel];
      peak = std::max(peak, value);
    }
    lines += "\n\n";
  }
  std::vector<std::pair<double, int64_t>> largest;
  for (const auto& [channel, value] : peaks) {
    if (value > 0 && value >= kMarkShare * max) largest.emplace_back(-value, channel);
  }
  std::sort(largest.begin(), largest.end());
  // A flat figure has no outlier channels to name.
  if (largest.size() > 4 * kMarks) largest.clear();
  largest.resize(std::min(largest.size(), kMarks));
  std::vector<Mark> marks;
  for (const auto& [value, channel] : largest) {
    marks.push_back({static_cast<double>(channel), static_cast<double>(channel), fmt::format("{}", channel)});
  }
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
      "{}\n"
      "set object 1 polygon from x0,0,0 to x1,0,0 to x1,y1,0 to x0,y1,0 to x0,0,0 fs solid noborder fc rgb "
      "'#f7f7f7' back\n"
      "set object 2 polygon from x0,y1,0 to x1,y1,0 to x1,y1,z1 to x0,y1,z1 to x0,y1,0 fs solid noborder fc "
      "rgb "
      "'#f2f2f2' back\n"
      "set object 3 polygon from x0,0,0 to x0,y1,0 to x0,y1,z1 to x0,0,z1 to x0,0,0 fs solid noborder fc rgb "
      "'#fafafa' back\n"
      "set style arrow 1 nohead ls 100 back\n"
      "set style arrow 2 nohead lc rgb '#444444' lw 0.7\n",
      first, last, end, top, wide ? 0.18 : 0.20, wide ? 0.80 : 0.78, wide ? 0.28 : 0.24, 0.78);
  f.settings += fmt::format("set label 1 {} at screen 0.5, 0.96 center\n", script_text(l.title));
  for (const double z : ticks(top)) {
    f.settings += fmt::format(
        "set arrow from x0,y1,{0:g} to x1,y1,{0:g} as 1; set arrow from x0,0,{0:g} to x0,y1,{0:g} as 1\n"
        "set label '{1}' at x1,y1,{0:g} left offset 0.6,0\n",
        z, tick_text(z));
  }
  for (const Line3d& line : l.lines) {
    if (!line.label.empty())
      f.settings += fmt::format("set arrow from {0:g},y1,0 to {0:g},y1,z1 as 1\n", line.x);
  }
  for (const Mark& m : marks)
    f.settings += fmt::format("set arrow from x0,{0:g},0 to x1,{0:g},0 as 1\n", m.at);
  f.settings +=
      "set arrow from x0,0,0 to x1,0,0 as 2; set arrow from x1,0,0 to x1,y1,0 as 2; set arrow from x1,y1,0 "
      "to "
      "x1,y1,z1 as 2\n";
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

/// Labels for `count` tokens of which about `room` fit; those of `first` where they can.
std::vector<std::string> labels_of(const Results& r, int64_t count, int64_t room,
                                   const std::vector<int64_t>& first) {
  std::vector<int64_t> wanted;
  std::copy_if(first.begin(), first.end(), std::back_inserter(wanted), [&](int64_t t) { return t < count; });
  const std::vector<bool> shown = thin_out(count, (count + room - 1) / room, wanted);
  std::vector<std::string> labels(shown.size());
  for (size_t t = 0; t < labels.size(); ++t) {
    if (shown[t]) labels[t] = token_label(r.json["prompt"]["tokens"][t]);
  }
  return labels;
}

std::string first_tokens(int64_t count, int64_t all) {
  return count < all ? fmt::format(", first {} of {} tokens", count, all) : "";
}

Figure activations_3d(const Results& r, const char* name, const char* point, int64_t layer) {
  const at::Tensor values = r.array(fmt::format("prompt.{}", point))[layer];
  const std::vector<int64_t> outliers = outlier_tokens(r, point, layer);
  const int64_t count = std::min(r.sizes.K, kShownTokens);
  const std::vector<std::string> labels = labels_of(r, count, 24, outliers);
  Lines3d l;
  l.title = title_of(r, fmt::format("layer {}{}", layer, first_tokens(count, r.sizes.P)));
  l.length = values.size(1);
  l.plain = "plain";
  for (int64_t t = 0; t < count; ++t)
    l.lines.push_back(
        {static_cast<double>(t), values[t], labels[static_cast<size_t>(t)], contains(outliers, t)});
  return draw_3d(name,
                 fmt::format("abs of {} by token and channel",
                             point == std::string_view("down_in") ? "down_in" : "resid_out"),
                 l);
}

// The first three columns of the down projection, its top one with its neighbours, and the last.
Figure columns_3d(const Results& r, const char* name, int64_t layer) {
  const at::Tensor columns = r.array("weights.down.columns")[layer],
                   numbers = r.array("weights.down.column_index")[layer];
  const ordered_json& tops = r.json["weights"][static_cast<size_t>(layer)]["modules"]["down"]["top_columns"];
  const int64_t top = tops.empty() ? -1 : tops[0]["column"].get<int64_t>(), end = r.sizes.F - 1;
  Lines3d l;
  l.title = title_of(r, fmt::format("layer {}", layer));
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
  return draw_3d(name, "abs of columns of down_proj, by column and row", l);
}

// --- by layer ---------------------------------------------------------------------------------------------

int64_t layer_step(int64_t layers) {
  for (const int64_t step : {1, 2, 4, 5, 8, 10, 20, 25, 50, 100}) {
    if (layers <= 9 * step) return step;
  }
  return layers / 8;
}

/// Axes of a figure over layers.
Figure over_layers(const Results& r, const char* name, const char* shows, const char* y_label) {
  Figure f{name, shows};
  f.settings = fmt::format(
      "set label 1 {} at screen 0.5, 1-0.1/height center\n"
      "set xlabel 'Layer' offset 0,0.8; set ylabel '{}' offset 1.2,0\n"
      "set xrange [-0.5:{}]; set xtics 0, {} offset 0,0.3\n"
      "set grid xtics ytics ls 100; unset key\n"
      "set lmargin at screen 0.17; set rmargin at screen 0.97; set tmargin at screen 1-0.21/height\n"
      "set bmargin at screen 0.575/height\n",
      script_text(title_of(r, "")), y_label, static_cast<double>(r.sizes.L) - 0.5, layer_step(r.sizes.L));
  if (tells_all(name)) return f;
  f.settings += untold_layers(r);
  return f;
}

/// The scale for lines of these values: logarithmic where they span more than kLogSpan.
std::string y_scale(const std::vector<std::vector<double>>& rows) {
  double low = INFINITY, high = 0;
  for (const auto& row : rows) {
    for (const double value : row) {
      if (!(value > 0) || !std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (!(high > kLogSpan * low)) return fmt::format("set yrange [0:{:g}]\n", high > 0 ? high * 1.06 : 1);
  return fmt::format("set logscale y; set format y '%g'\nset yrange [{:g}:{:g}]\n", low / 1.4, high * 1.4);
}

std::string table(const char* head, const std::vector<std::vector<double>>& rows) {
  std::string text = fmt::format("# layer, {}\n", head);
  for (size_t l = 0; l < rows.size(); ++l) {
    text += fmt::format("{}", l);
    for (const double value : rows[l]) text += "\t" + data_number(value);
    text += "\n";
  }
  return text;
}

/// Lines of the columns of rows [layer][series]; the last series is a reference.
void add_lines(Figure& f, const char* head, const std::vector<std::vector<double>>& rows,
               const std::vector<std::string>& names, const char* colors) {
  constexpr std::array kShapes = {7, 5, 9, 13, 11, 15, 2};
  f.data = table(head, rows);
  f.settings += y_scale(rows);
  f.plot = "  plot ";
  std::vector<Entry> legend;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool reference = i + 1 == names.size();
    const int point = reference ? -1 : kShapes[i % kShapes.size()];
    const std::string color = reference ? "series[4]" : fmt::format("{}[{}]", colors, i + 1);
    const char* style = reference ? "lw 1 dt (4,4)" : "lw 1.1";
    legend.push_back({names[i], color, point, style});
    f.plot += fmt::format(
        "{0}data using 1:{1} with lines {2} lc rgb {3}, \\\n    data using 1:{1} with points pt {4} ps {5} "
        "lc rgb {3}",
        i == 0 ? "" : ", \\\n    ", i + 2, style, color, reference ? 7 : point, reference ? 0.15 : 0.35);
  }
  f.plot += "\n";
  add_legend(f, legend, 4);
}

double entry(const ordered_json& list, size_t i) {
  return i < list.size() ? number_of(list[i]) : NAN;
}

Figure top_by_layer(const Results& r, const char* name, const char* shows, const char* y_label,
                    const ordered_json& layers, size_t count) {
  Figure f = over_layers(r, name, shows, y_label);
  std::vector<std::vector<double>> rows;
  for (const ordered_json& layer : layers) {
    std::vector<double> row;
    for (size_t i = 0; i < count; ++i) row.push_back(entry(layer["top3_mean"], i));
    row.push_back(number_of(layer["median"]));
    rows.push_back(row);
  }
  std::vector<std::string> names = {"Top 1", "Top 2", "Top 3"};
  names.resize(count);
  names.emplace_back("Median");
  add_lines(f, "the largest values, median", rows, names, "series");
  return f;
}

/// Indices that come first in every layer, as points; those that come first in many layers are named.
Figure index_by_layer(const Results& r, const char* name, const char* shows, const char* y_label, int64_t end,
                      const std::vector<std::vector<double>>& rows, const std::vector<std::string>& names) {
  Figure f = over_layers(r, name, shows, y_label);
  std::map<double, int64_t> layers;
  for (const auto& row : rows) {
    for (size_t i = 0; i < std::min<size_t>(2, row.size()); ++i) {
      if (std::isfinite(row[i])) ++layers[row[i]];
    }
  }
  std::vector<std::pair<int64_t, double>> often;
  for (const auto& [index, count] : layers) {
    if (count > 1 || r.sizes.L == 1) often.emplace_back(-count, index);
  }
  std::sort(often.begin(), often.end());
  often.resize(std::min<size_t>(often.size(), 4));
  std::vector<Mark> marks;
  for (const auto& [count, index] : often) marks.push_back({index, index, fmt::format("{:g}", index)});
  const auto last = static_cast<double>(std::max<int64_t>(end - 1, 1));
  spread(marks, 0.075 * last, last);
  f.data = table("the first indices", rows) + "\n\n" + mark_block(marks);
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
                        static_cast<double>(r.sizes.L) - 0.5);
  return f;
}

Figure channels_by_layer(const Results& r, const char* name, const char* point, int64_t channels) {
  std::vector<std::vector<double>> rows;
  for (const ordered_json& layer : r.json["activations"]["prompt"][point]) {
    std::vector<double> row(2, NAN);
    for (size_t i = 0; i < std::min<size_t>(2, layer["top_channels"].size()); ++i)
      row[i] = layer["top_channels"][i]["channel"].get<double>();
    rows.push_back(row);
  }
  return index_by_layer(r, name, "the two channels with the largest values on the prompt, by layer",
                        point == std::string_view("down_in") ? "Neuron" : "Channel", channels, rows,
                        {"Top 1", "Top 2"});
}

Figure columns_by_layer(const Results& r) {
  std::vector<std::vector<double>> rows;
  for (const ordered_json& layer : r.json["weights"]) {
    const ordered_json& tops = layer["modules"]["down"]["top_columns"];
    std::vector<double> row(3, NAN);
    for (size_t i = 0; i < std::min<size_t>(3, tops.size()); ++i) row[i] = tops[i]["column"].get<double>();
    rows.push_back(row);
  }
  return index_by_layer(r, "pos_weight_columns",
                        "the three columns of down_proj with the largest max/mean, by layer",
                        "Column of down_proj", r.sizes.F, rows, {"Top 1", "Top 2", "Top 3"});
}

Figure weights_by_layer(const Results& r) {
  Figure f =
      over_layers(r, "pos_weight_layers", "the largest max/mean over rows and columns of each projection",
                  "Max / mean of |W|");
  constexpr std::array kModules = {"down", "up", "gate", "q", "k", "v", "o"};
  std::vector<std::vector<double>> rows;
  for (const ordered_json& layer : r.json["weights"]) {
    std::vector<double> row;
    double sum = 0;
    int count = 0;
    for (const char* module : kModules) {
      const bool there = layer["modules"].contains(module);
      row.push_back(there ? number_of(layer["modules"][module]["score"]) : NAN);
      if (std::isfinite(row.back())) {
        sum += row.back();
        ++count;
      }
    }
    row.push_back(sum / count);
    rows.push_back(row);
  }
  f.height = 2.5;
  f.settings += "set bmargin at screen 0.73/height\n";
  add_lines(f, "score of down, up, gate, q, k, v, o; their mean", rows,
            {"down", "up", "gate", "q", "k", "v", "o", "mean"}, "modules");
  return f;
}

Figure heads_by_layer(const Results& r) {
  Figure f = over_layers(r, "pos_attention_heads",
                         "share of each head's probability on outlier keys: mean, least and most over heads",
                         "Share on outlier keys");
  std::vector<std::vector<double>> rows;
  for (const ordered_json& layer : r.json["attention"]["corpus"]) {
    double sum = 0, low = INFINITY, high = -INFINITY;
    int count = 0;
    for (const ordered_json& head : layer["heads"]) {
      const double share = number_of(head["outlier_share"]);
      if (!std::isfinite(share)) continue;
      sum += share;
      ++count;
      low = std::min(low, share);
      high = std::max(high, share);
    }
    rows.push_back({sum / count, low, high});
  }
  f.data = table("mean, least, most", rows);
  f.settings += "set yrange [-0.02:1.02]; set ytics 0.2\n";
  f.plot =
      "  plot data using 1:2:3:4 with yerrorbars pt 7 ps 0.1 lw 1 lc rgb series[2], \\\n"
      "    data using 1:2 with points pt 7 ps 0.45 lc rgb series[1]\n";
  add_legend(f, {{"Mean over heads", "series[1]", 7, nullptr}, {"Least to most", "series[2]", -1, "lw 1"}},
             2);
  return f;
}

// --- attention map ----------------------------------------------------------------------------------------

Figure attention_map(const Results& r, int64_t layer, const std::vector<int64_t>& outliers) {
  const int64_t count = std::min(r.sizes.P, kShownTokens);
  const bool wide = count > 16;
  Figure f{"exist_attention", "attention probabilities of the prompt, mean over heads, query by key"};
  f.width = wide ? kDoubleInches : kSingleInches;
  f.height = wide ? 6.2 : 3.0;
  const at::Tensor probs = r.array("prompt.attention.probs_mean")[layer].to(at::kDouble).contiguous();
  const auto p = probs.accessor<double, 2>();
  const std::vector<std::string> labels = labels_of(r, count, wide ? 40 : 16, outliers);
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
    for (int64_t k = 0; k < (of_images(r) ? count : q + 1); ++k)
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
      count, of_images(r) ? "*]" : "1]", of_images(r) ? "autofreq" : "0.2", wide ? 0.14 : 0.245,
      wide ? 0.90 : 0.87, wide ? 0.13 : 0.235, 0.925,
      script_text(title_of(r, fmt::format("layer {}{}", layer, first_tokens(count, r.sizes.P)))));
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

// --- classes ----------------------------------------------------------------------------------------------

struct Share {
  std::string label;
  size_t kind;  // place in kClasses
  double count;
};
constexpr std::array kClasses = {"initial", "strong_delimiter", "weak_word", "other",
                                 "cls",     "register",         "patch"};
constexpr std::array kClassNames = {"Initial token", "Strong delimiter", "Weak word", "Other",
                                    "CLS",           "Register",         "Patch"};

size_t class_of(const std::string& name) {
  const auto place = std::find(kClasses.begin(), kClasses.end(), name);
  require(place != kClasses.end(), "figures have no colour for the class '{}'", printable(name));
  return static_cast<size_t>(place - kClasses.begin());
}

// One bar a text, those of initial tokens together; what is not among the first seven is "others" of its
// class.
Figure class_bars(const Results& r, const char* name, const char* shows, const std::string& what,
                  int64_t layer, const std::vector<Share>& counted) {
  constexpr size_t kBars = 7;
  std::map<std::pair<size_t, std::string>, double> bars;
  double sum = 0;
  for (const Share& share : counted) {
    bars[{share.kind, share.kind == 0 ? kClassNames[0]
                      : of_images(r)  ? share.label
                                      : fmt::format("\"{}\"", token_label(share.label, 12))}] += share.count;
    sum += share.count;
  }
  std::vector<Share> rows;
  for (const auto& [key, count] : bars) rows.push_back({key.second, key.first, count});
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Share& a, const Share& b) { return a.count > b.count; });
  if (rows.size() > kBars) {
    std::array<double, kClasses.size()> rest{};
    for (size_t i = kBars; i < rows.size(); ++i) rest[rows[i].kind] += rows[i].count;
    rows.resize(kBars);
    for (size_t k = 0; k < rest.size(); ++k) {
      if (rest[k] > 0) rows.push_back({"more", k, rest[k]});
    }
  }
  Figure f{name, shows};
  f.data =
      "# place, percent, class (0 initial, 1 strong delimiter, 2 weak word, 3 other; 4 CLS, 5 register, 6 "
      "patch), "
      "text\n";
  double most = 0;
  std::array<bool, kClasses.size()> used{};
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
      script_text(title_of(r, fmt::format("layer {}", layer))), what, std::max(most * 1.22, 1.0),
      static_cast<double>(rows.size()) - 0.4, most > 60 ? "0, 20, 100" : "autofreq",
      std::count(used.begin(), used.end(), true) > 2 ? 0.73 : 0.575);
  f.plot = "  plot ";
  std::vector<Entry> legend;
  for (size_t k = 0; k < kClasses.size(); ++k) {
    if (!used[k]) continue;
    const std::string color = fmt::format("classes[{}]", k + 1);
    legend.push_back({kClassNames[k], color, 0, nullptr});
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

// The layer with the largest accumulated score.
int64_t busiest_layer(const Results& r) {
  int64_t best = 0;
  double most = -1;
  for (const ordered_json& layer : r.json["attention"]["corpus"]) {
    const double score = entry(layer["top3_mean"], 0);
    if (score > most && !layer["outlier_keys"].empty()) {
      most = score;
      best = layer["layer"];
    }
  }
  return best;
}

std::optional<Figure> outlier_keys(const Results& r) {
  const int64_t layer = busiest_layer(r);
  std::vector<Share> counted;
  for (const ordered_json& key : r.json["attention"]["corpus"][static_cast<size_t>(layer)]["outlier_keys"])
    counted.push_back({key["token_text"].get<std::string>(), class_of(key["class"]), 1});
  if (counted.empty()) return std::nullopt;
  return class_bars(r, "pos_attention_keys", "what the outlier keys are",
                    of_images(r) ? "Outlier keys of all images, %" : "Outlier keys of the corpus, %", layer,
                    counted);
}

std::optional<Figure> massive_tokens(const Results& r, const Chosen& chosen) {
  // The layer of the largest value, or where that has none, the one with the most.
  const ordered_json &peak = r.json["summary"]["peak_layer"],
                     &layers = r.json["activations"]["corpus"]["resid_out"];
  int64_t layer = peak.is_null() ? chosen.born : peak.get<int64_t>(), most = 0;
  const auto count = [&](int64_t l) {
    int64_t sum = 0;
    for (const ordered_json& text :
         layers[static_cast<size_t>(l)].value("massive_tokens", ordered_json::array()))
      sum += text["count"].get<int64_t>();
    return sum;
  };
  if (count(layer) == 0) {
    for (int64_t l = 0; l < r.sizes.L; ++l) {
      if (count(l) > most) {
        most = count(l);
        layer = l;
      }
    }
  }
  const ordered_json& point = layers[static_cast<size_t>(layer)];
  if (!point.contains("massive_tokens")) return std::nullopt;
  std::vector<Share> counted;
  for (const ordered_json& text : point["massive_tokens"])
    counted.push_back(
        {text["token_text"].get<std::string>(), class_of(text["class"]), text["count"].get<double>()});
  if (counted.empty()) return std::nullopt;
  return class_bars(r, "pos_out_tokens", "which tokens have massive activations",
                    "Tokens with massive activations, %", layer, counted);
}

// --- norms of images' tokens ------------------------------------------------------------------------------

std::optional<Figure> norms_by_layer(const Results& r) {
  if (!of_images(r)) return std::nullopt;
  Figure f = over_layers(r, "norm_layers", "L2 norms of resid_out over all images, by layer", "L2 norm");
  const bool registers = r.json["images"]["registers"] > 0;
  std::vector<std::vector<double>> rows;
  for (const ordered_json& layer : r.json["norms"]["corpus"]) {
    std::vector<double> row = {number_of(layer["patches"]["max"]), number_of(layer["cls"]["median"])};
    if (registers) row.push_back(number_of(layer["registers"]["median"]));
    row.push_back(number_of(layer["patches"]["median"]));
    rows.push_back(row);
  }
  std::vector<std::string> names = {"Top patch", "CLS", "Registers", "Median"};
  if (!registers) names.erase(names.begin() + 2);
  add_lines(f, "largest patch, medians of CLS, registers (where there are some) and patches", rows, names,
            "series");
  return f;
}

// The first image's patches where they are, in the last layer.
std::optional<Figure> norm_map(const Results& r) {
  if (!of_images(r)) return std::nullopt;
  const ordered_json& images = r.json["images"];
  const int64_t rows = images["rows"], columns = images["columns"],
                first = 1 + images["registers"].get<int64_t>();
  const int64_t layer = r.sizes.L - 1;
  const at::Tensor norms = r.array("prompt.resid_out.token_norm")[layer][0].to(at::kDouble).contiguous();
  const auto norm = norms.accessor<double, 1>();
  Figure f{"norm_map", "L2 norms of the first image's patches in the output of the last layer"};
  f.data = "# row, column, norm\n";
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      f.data += fmt::format("{}\t{}\t{}\n", row, column, data_number(norm[first + row * columns + column]));
    }
  }
  // Square patches: the plot is as wide as the column, and as high as its rows need.
  constexpr double kLeft = 0.12, kRight = 0.83, kBelow = 0.36, kAbove = 0.24;
  const double inches =
      kSingleInches * (kRight - kLeft) * static_cast<double>(rows) / static_cast<double>(columns);
  f.height = std::clamp(inches, 0.5, 6.0) + kBelow + kAbove;
  f.settings = fmt::format(
      "set xrange [-0.5:{0}-0.5]; set yrange [{1}-0.5:-0.5]; set cbrange [0:*]\n"
      "unset key; set border 0; set xtics {2} scale 0 offset 0,0.4; set ytics {3} scale 0 offset 0.5,0\n"
      "set xlabel 'Column of patches' offset 0,1; set ylabel 'Row' offset 1.6,0\n"
      "set cbtics scale 0.3 offset -0.6,0\n"
      "set colorbox user origin graph 1.03, graph 0 size graph 0.035, graph 1 noborder\n"
      "set lmargin at screen {4}; set rmargin at screen {5}; set bmargin at screen {6}/height; set tmargin "
      "at screen "
      "1-{7}/height\n"
      "set label 1 {8} at screen 0.5, 1-0.1/height center\n",
      columns, rows, layer_step(columns), layer_step(rows), kLeft, kRight, kBelow, kAbove,
      script_text(title_of(r, fmt::format("layer {}", layer))));
  f.plot = "  plot data using 2:1:(0.5):(0.5):3 with boxxyerror fs solid noborder fc palette\n";
  return f;
}

// Layers by the score of down_proj, the largest first, without `except`.
std::vector<int64_t> heaviest_layers(const Results& r, int64_t except) {
  std::vector<std::pair<double, int64_t>> scores;
  for (const ordered_json& layer : r.json["weights"]) {
    const double score = number_of(layer["modules"]["down"]["score"]);
    if (layer["layer"] != except && std::isfinite(score))
      scores.emplace_back(-score, layer["layer"].get<int64_t>());
  }
  std::sort(scores.begin(), scores.end());
  std::vector<int64_t> layers;
  for (const auto& [score, layer] : scores) layers.push_back(layer);
  return layers;
}

struct Kind {
  const char* name;
  std::function<std::optional<Figure>(const Results&, const Chosen&)> make;
};

const std::vector<Kind>& kinds() {
  const auto second_weight = [](const char* name, size_t place) {
    return Kind{name, [=](const Results& r, const Chosen& c) -> std::optional<Figure> {
                  const std::vector<int64_t> layers = heaviest_layers(r, c.born);
                  if (place >= layers.size()) return std::nullopt;
                  return columns_3d(r, name, layers[place]);
                }};
  };
  static const std::vector<Kind> all = {
      {"exist_down",
       [](const Results& r, const Chosen& c) { return activations_3d(r, "exist_down", "down_in", c.born); }},
      {"exist_out",
       [](const Results& r, const Chosen& c) { return activations_3d(r, "exist_out", "resid_out", c.born); }},
      {"exist_weight",
       [](const Results& r, const Chosen& c) { return columns_3d(r, "exist_weight", c.born); }},
      {"exist_attention",
       [](const Results& r, const Chosen& c) -> std::optional<Figure> {
         if (r.json["attention"]["prompt"]["probs_mean"].is_null()) return std::nullopt;
         return attention_map(r, c.after, outlier_tokens(r, "resid_out", c.born));
       }},
      {"pos_down_layers",
       [](const Results& r, const Chosen&) {
         return top_by_layer(r, "pos_down_layers",
                             "the largest abs of down_in, mean over sequences, by layer", "|down_in|",
                             r.json["activations"]["corpus"]["down_in"], 3);
       }},
      {"pos_down_removed",
       [](const Results& r, const Chosen& c) -> std::optional<Figure> {
         if (!c.removed) return std::nullopt;
         return activations_3d(r, "pos_down_removed", "down_in", *c.removed);
       }},
      {"pos_down_channels",
       [](const Results& r, const Chosen&) {
         return channels_by_layer(r, "pos_down_channels", "down_in", r.sizes.F);
       }},
      {"pos_out_layers",
       [](const Results& r, const Chosen&) {
         return top_by_layer(r, "pos_out_layers",
                             "the largest abs of resid_out, mean over sequences, by layer", "|resid_out|",
                             r.json["activations"]["corpus"]["resid_out"], 3);
       }},
      {"pos_out_tokens", massive_tokens},
      {"pos_out_channels",
       [](const Results& r, const Chosen&) {
         return channels_by_layer(r, "pos_out_channels", "resid_out", r.sizes.D);
       }},
      {"pos_weight_layers", [](const Results& r, const Chosen&) { return weights_by_layer(r); }},
      {"pos_weight_columns", [](const Results& r, const Chosen&) { return columns_by_layer(r); }},
      second_weight("pos_weight_second", 0),
      second_weight("pos_weight_third", 1),
      {"pos_attention_layers",
       [](const Results& r, const Chosen&) {
         return top_by_layer(r, "pos_attention_layers",
                             "the largest accumulated scores, mean over sequences, by layer",
                             "Accumulated score", r.json["attention"]["corpus"], 2);
       }},
      {"pos_attention_keys", [](const Results& r, const Chosen&) { return outlier_keys(r); }},
      {"pos_attention_heads", [](const Results& r, const Chosen&) { return heads_by_layer(r); }},
      {"norm_layers", [](const Results& r, const Chosen&) { return norms_by_layer(r); }},
      {"norm_map", [](const Results& r, const Chosen&) { return norm_map(r); }},
  };
  return all;
}

std::vector<Figure> figures_of(const Results& results, const std::vector<std::string>& names) {
  const std::vector<std::string> known = figure_names();
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest(name, known);
    throw UsageError(fmt::format("there is no figure {}; {}", printable(name),
                                 near.empty() ? fmt::format("known: {}", fmt::join(known, ", "))
                                              : fmt::format("did you mean {}?", near)));
  }
  const Chosen chosen = choose(results);
  std::vector<Figure> figures;
  for (const Kind& kind : kinds()) {
    if (!names.empty() && std::find(names.begin(), names.end(), kind.name) == names.end()) continue;
    if (!can_tell(results, kind.name)) continue;
    if (std::optional<Figure> figure = kind.make(results, chosen)) figures.push_back(std::move(*figure));
  }
  return figures;
}

}  // namespace

std::vector<std::string> figure_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) names.emplace_back(kind.name);
  return names;
}

std::vector<Figure> make_figures(const Results& results, const std::vector<std::string>& names) {
  if (has_nonfinite(results)) {
    const Results whole = whole_layers(results);
    return figures_of(whole, names);
  }
  return figures_of(results, names);
}

}  // namespace outliers::report
