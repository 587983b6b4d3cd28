#include "outliers/report/figure_parts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/report/measured.h"
#include "outliers/results/outlier_token.h"

namespace outliers::report {

std::string title_of(const Results& r, const results::Input* input, const std::string& more, size_t columns) {
  std::string rest = more;
  if (input != nullptr && inputs_of(r.data, input->kind).size() > 1)
    rest = printable(input->name, 16) + (more.empty() ? "" : ", " + more);
  const size_t room = columns - std::min(columns - 8, rest.size() + 2);
  return shorten(printable(r.data.model.name), room) + (rest.empty() ? "" : ", " + rest);
}

std::vector<int64_t> outlier_tokens(const Results& r, const results::Input& prompt, const char* point,
                                    int64_t layer) {
  const auto layers = activation_layers(r.data, prompt, point);
  const std::string name = fmt::format("{}.token_max", point);
  if (layers.empty() || !r.has(name, &prompt)) return {};
  const at::Tensor maxima = r.array(name, &prompt)[layer][0].to(at::kDouble).contiguous();
  const auto max = maxima.accessor<double, 1>();
  std::vector<int64_t> tokens;
  for (int64_t t = 0; t < maxima.numel(); ++t) {
    if (results::is_outlier_token(*layers[static_cast<size_t>(layer)], max[t], r.data.criteria))
      tokens.push_back(t);
  }
  std::stable_sort(tokens.begin(), tokens.end(), [&](int64_t a, int64_t b) { return max[a] > max[b]; });
  return tokens;
}

bool contains(const std::vector<int64_t>& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::vector<std::string> labels_of(const results::Input& prompt, int64_t count, int64_t room,
                                   const std::vector<int64_t>& first) {
  std::vector<int64_t> wanted;
  std::copy_if(first.begin(), first.end(), std::back_inserter(wanted), [&](int64_t t) { return t < count; });
  const std::vector<bool> shown = thin_out(count, (count + room - 1) / room, wanted);
  std::vector<std::string> labels(shown.size());
  for (size_t t = 0; t < labels.size(); ++t) {
    if (shown[t]) labels[t] = token_label(prompt.tokens[t]);
  }
  return labels;
}

std::string first_tokens(int64_t count, int64_t all) {
  return count < all ? fmt::format(", first {} of {} tokens", count, all) : "";
}

void spread(std::vector<Mark>& marks, double distance, double end) {
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.at < b.at; });
  for (size_t i = 1; i < marks.size(); ++i)
    marks[i].label_at = std::max(marks[i].label_at, marks[i - 1].label_at + distance);
  for (size_t i = marks.size(); i-- > 0;) {
    marks[i].label_at = std::min(marks[i].label_at, end);
    end = marks[i].label_at - distance;
  }
}

std::vector<std::pair<int64_t, double>> outline(const at::Tensor& values, int64_t parts) {
  const at::Tensor x = values.to(at::kDouble).contiguous();
  const double* data = x.const_data_ptr<double>();
  const int64_t count = x.numel();
  parts = std::min(count, parts);
  std::vector<std::pair<int64_t, double>> points;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t begin = count * p / parts, end = count * (p + 1) / parts;
    int64_t best = -1;
    for (int64_t i = begin; i < end; ++i) {
      if (std::isfinite(data[i]) && (best < 0 || std::abs(data[i]) > std::abs(data[best]))) best = i;
    }
    points.emplace_back(best < 0 ? begin : best, best < 0 ? NAN : data[best]);
  }
  return points;
}

std::vector<Mark> named_peaks(const std::map<int64_t, double>& peaks, double max, double share, size_t most) {
  std::vector<std::pair<double, int64_t>> largest;
  for (const auto& [channel, value] : peaks) {
    if (value > 0 && value >= share * max) largest.emplace_back(-value, channel);
  }
  std::sort(largest.begin(), largest.end());
  if (largest.size() > 4 * most) largest.clear();
  largest.resize(std::min(largest.size(), most));
  std::vector<Mark> marks;
  for (const auto& [value, channel] : largest)
    marks.push_back({static_cast<double>(channel), static_cast<double>(channel), fmt::format("{}", channel)});
  return marks;
}

std::string box_walls(const char* floor) {
  return fmt::format(
      "set object 1 polygon from x0,0,{0} to x1,0,{0} to x1,y1,{0} to x0,y1,{0} to x0,0,{0} fs solid "
      "noborder "
      "fc rgb '#f7f7f7' back\n"
      "set object 2 polygon from x0,y1,{0} to x1,y1,{0} to x1,y1,z1 to x0,y1,z1 to x0,y1,{0} fs solid "
      "noborder "
      "fc rgb '#f2f2f2' back\n"
      "set object 3 polygon from x0,0,{0} to x0,y1,{0} to x0,y1,z1 to x0,0,z1 to x0,0,{0} fs solid noborder "
      "fc "
      "rgb '#fafafa' back\n"
      "set style arrow 1 nohead ls 100 back\n"
      "set style arrow 2 nohead lc rgb '#444444' lw 0.7\n"
      "set arrow from x0,0,{0} to x1,0,{0} as 2; set arrow from x1,0,{0} to x1,y1,{0} as 2; set arrow from "
      "x1,y1,{0} to x1,y1,z1 as 2\n",
      floor);
}

std::string box_line(double z, double offset) {
  return fmt::format(
      "set arrow from x0,y1,{0:g} to x1,y1,{0:g} as 1; set arrow from x0,0,{0:g} to x0,y1,{0:g} as 1\n"
      "set label '{1}' at x1,y1,{0:g} left offset {2:g},0\n",
      z, tick_text(z), offset);
}

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
      f.settings += fmt::format("set label {} at screen {:.4f}, screen {:.4f} left\n", script_text(e.text),
                                end + 0.7 * kCharacter / f.width, y);
    }
    left += widths[column] + kGap;
  }
}

std::string y_scale(const std::vector<std::vector<double>>& rows) {
  double low = INFINITY, high = 0, least = 0;
  for (const auto& row : rows) {
    for (const double value : row) {
      if (std::isfinite(value)) least = std::min(least, value);
      if (!(value > 0) || !std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (least < 0) return fmt::format("set yrange [{:g}:{:g}]\n", least * 1.06, high * 1.06);
  if (!(high > kLogSpan * low)) return fmt::format("set yrange [0:{:g}]\n", high > 0 ? high * 1.06 : 1);
  return fmt::format("set logscale y; set format y '%g'\nset yrange [{:g}:{:g}]\n", low / 1.4, high * 1.4);
}

std::string layer_table(const char* head, const std::vector<std::vector<double>>& rows) {
  std::string text = fmt::format("# layer, {}\n", head);
  for (size_t l = 0; l < rows.size(); ++l) {
    text += fmt::format("{}", l);
    for (const double value : rows[l]) text += "\t" + data_number(value);
    text += "\n";
  }
  return text;
}

void add_lines(Figure& f, const char* head, const std::vector<std::vector<double>>& rows,
               const std::vector<std::string>& names, const char* colors, bool last_is_reference,
               size_t columns) {
  constexpr std::array kShapes = {7, 5, 9, 13, 11, 15, 2};
  f.data = layer_table(head, rows);
  f.settings += y_scale(rows);
  f.plot = "  plot ";
  std::vector<Entry> legend;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool reference = last_is_reference && i + 1 == names.size();
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
  add_legend(f, legend, columns);
}

int64_t label_step(int64_t count) {
  for (const int64_t step : {1, 2, 4, 5, 8, 10, 20, 25, 50, 100}) {
    if (count <= 9 * step) return step;
  }
  return count / 8;
}

}  // namespace outliers::report
