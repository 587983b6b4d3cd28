#include "outliers/report/figure.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/core/version.h"

namespace outliers::report {
namespace {

constexpr const char* kFont = "DejaVu Sans";
constexpr double kPoints = 8;  // of the figure's text

// gnuplot's units differ by terminal: with these factors a point is a point of the printed figure in all.
constexpr double kSvgDpi = 96, kPngDpi = 300, kPdfFontScale = 0.75;

// "#f01ee0" as the number that gnuplot takes both as a colour and as a column of colours.
std::string hex(const std::string& color) {
  return "0x" + color.substr(1);
}

std::string color_lines(const Palette& p) {
  std::string text =
      fmt::format("outlier = {}; plain = {}; weight = {}\n", hex(p.outlier), hex(p.plain), hex(p.weight));
  const auto list = [&](const char* name, const std::vector<std::string>& colors) {
    text += fmt::format("array {}[{}] = [", name, colors.size());
    for (size_t i = 0; i < colors.size(); ++i) text += (i == 0 ? "" : ", ") + hex(colors[i]);
    text += "]\n";
  };
  list("series", p.series);
  list("modules", p.modules);
  list("classes", p.classes);
  return text;
}

std::string heat_line(const Palette& p) {
  std::string stops;
  for (size_t i = 0; i < p.heat.size(); ++i)
    stops += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, p.heat[i]);
  return fmt::format("set palette defined ({})\n", stops);
}

}  // namespace

const std::vector<Palette>& palettes() {
  static const std::vector<Palette> all = {
      {"paper",
       "#f01ee0",
       "#3f69d6",
       "#0b8a3c",
       {"#4f8fe6", "#1fae73", "#9766ad", "#666666"},
       {"#4f8fe6", "#45a778", "#a98bc0", "#12806a", "#f59a2c", "#8a1f7a", "#e0182d"},
       {"#5c95ea", "#22b176", "#ffa42e", "#b5b5b5", "#5c95ea", "#ffa42e", "#b5b5b5"},
       {"#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58"}},
      {"safe",
       "#d55e00",
       "#0072b2",
       "#56b4e9",
       {"#0072b2", "#e69f00", "#cc79a7", "#555555"},
       {"#0072b2", "#e69f00", "#cc79a7", "#009e73", "#56b4e9", "#d55e00", "#000000"},
       {"#0072b2", "#e69f00", "#cc79a7", "#bbbbbb", "#0072b2", "#e69f00", "#bbbbbb"},
       {"#fffce5", "#fee838", "#d3c164", "#a69d75", "#7c7b78", "#575d6d", "#2c4a6e", "#00224e"}}};
  return all;
}

std::string script_of(const Figure& f, const Palette& palette) {
  return fmt::format(
      "# {0}: {1}.\n"
      "# Written by outliers {2}. Redraw it in this folder: gnuplot {0}.gp; one format: gnuplot -e "
      "\"formats='pdf'\" {0}.gp\n"
      "if (!exists('formats')) formats = 'pdf svg png'\n"
      "data = '{0}.dat'\n"
      "width = {3}; height = {4}  # inches\n"
      "font = '{5}'; points = {6}\n"
      "{7}"
      "set encoding utf8\n"
      "set datafile separator \"\\t\"\n"
      "{8}"
      "set border lc rgb '#444444' lw 0.7\n"
      "set tics scale 0.5 nomirror textcolor rgb '#222222'\n"
      "set style line 100 lc rgb '#dddddd' lw 0.5\n"
      "{9}\n"
      "do for [format in formats] {{\n"
      "  bold = font . (format eq 'svg' ? '' : ':Bold')  # the svg terminal knows no weights\n"
      "  if (format eq 'pdf') {{ set terminal pdfcairo noenhanced size width in, height in font "
      "font.','.points "
      "fontscale {10} linewidth 1.6 }}\n"
      "  if (format eq 'svg') {{ set terminal svg noenhanced size int({11}*width), int({11}*height) font "
      "font.','.sprintf('%.2f', points*{11}/72.) linewidth 1.07 background 'white' }}\n"
      "  if (format eq 'png') {{ set terminal pngcairo noenhanced size int({12}*width), int({12}*height) "
      "font "
      "font.','.points fontscale {12}/96. linewidth {12}/90. pointscale 3 }}\n"
      "  set output '{0}.'.format\n"
      "{13}"
      "  unset output\n"
      "}}\n",
      f.name, f.shows, version(), f.width, f.height, kFont, kPoints, color_lines(palette), heat_line(palette),
      f.settings, kPdfFontScale, kSvgDpi, kPngDpi, f.plot);
}

std::string data_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : printable(text, 400)) {
    if (c == '"' || c == '\\') out += c == '"' ? '"' : '\\';
    out += c;
  }
  return out + "\"";
}

std::string script_text(const std::string& text) {
  std::string out = "'";
  for (const char c : printable(text, 400)) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

std::string data_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "NaN";
}

std::string token_label(const std::string& token, size_t columns) {
  const bool word = token.size() > 1 && token[0] == ' ' && token.find_first_not_of(' ') != std::string::npos;
  std::string text;
  for (size_t i = word ? 1 : 0; i < token.size(); ++i) {
    if (token[i] == ' ') {
      text += "␣";
    } else {
      text += token[i];
    }
  }
  return text.empty() ? "∅" : shorten(text, columns);
}

std::vector<bool> thin_out(int64_t count, int64_t distance, const std::vector<int64_t>& first) {
  std::vector<bool> shown(static_cast<size_t>(count));
  const auto take = [&](int64_t i) {
    for (int64_t k = std::max<int64_t>(0, i - distance + 1); k < std::min(count, i + distance); ++k) {
      if (shown[static_cast<size_t>(k)]) return;
    }
    shown[static_cast<size_t>(i)] = true;
  };
  for (const int64_t i : first) take(i);
  for (int64_t i = 0; i < count; ++i) take(i);
  return shown;
}

std::vector<double> ticks(double max) {
  if (!(max > 0) || !std::isfinite(max)) return {0, 1};
  double step = std::pow(10, std::floor(std::log10(max)));
  if (max / step < 2) {
    step /= 2;
  } else if (max / step >= 5) {
    step *= 2;
  }
  std::vector<double> list;
  for (int i = 0; i * step <= max * (1 + 1e-9); ++i) list.push_back(i * step);
  return list;
}

std::string tick_text(double value) {
  if (std::abs(value) >= 1000) return fmt::format("{:.6g}k", value / 1000);
  return fmt::format("{:.6g}", value);
}

}  // namespace outliers::report
