#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/ranges.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/core/suggest.h"
#include "outliers/core/table.h"
#include "outliers/report/figure_parts.h"
#include "outliers/report/interventions.h"
#include "outliers/results/results.h"

namespace outliers::report {
namespace {

using results::InterventionRun;
using results::Interventions;

constexpr double kRow = 0.17, kKeyRow = 0.14, kCharacter = 0.6 * 8 / 72;  // inches
/// Columns of an edit on an axis, and of a line of the key.
constexpr size_t kNameColumns = 44, kKeyColumns = 120;
/// Edited runs whose lines can be told apart; more are a map.
constexpr size_t kMostLines = std::size(kShownModules) - 1;

/// An edited run and its controls.
struct Edited {
  const InterventionRun* run;
  std::vector<const InterventionRun*> controls;
};

std::vector<Edited> edited_runs(const Interventions& r) {
  std::vector<Edited> list;
  for (const InterventionRun& run : r.runs) {
    if (run.effect && !run.control_of) list.push_back({&run, {}});
  }
  for (const InterventionRun& run : r.runs) {
    for (Edited& edited : list) {
      if (run.control_of == edited.run->name) edited.controls.push_back(&run);
    }
  }
  return list;
}

/// What an axis or a legend calls the edits: their text, or where that is too long its beginning, with the
/// run's name, by which the key has all of it.
struct Names {
  std::vector<std::string> shown, key;
};

Names names_of(const std::vector<Edited>& list, size_t columns) {
  Names names;
  for (const Edited& edited : list) {
    const std::string text = printable(edited.run->edits, std::string::npos);
    if (display_width(text) <= columns) {
      names.shown.push_back(text);
      continue;
    }
    const std::string name = printable(edited.run->name, 16) + " ";
    names.shown.push_back(name + shorten(text, columns - display_width(name)));
    std::string words;  // that a line may end between
    for (const char c : text) words += c == ';' ? "; " : std::string(1, c);
    const std::string folded = fold(name + words, kKeyColumns, display_width(name));
    for (size_t begin = 0; begin < folded.size();) {
      const size_t end = std::min(folded.find('\n', begin), folded.size());
      names.key.push_back(folded.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return names;
}

double key_height(const Names& names) {
  return names.key.empty() ? 0 : kKeyRow * static_cast<double>(names.key.size()) + 0.08;
}

/// The lines of the key from `bottom` inches on, the first on top.
void add_key(Figure& f, const std::vector<std::string>& lines, double bottom) {
  for (size_t i = 0; i < lines.size(); ++i) {
    f.settings += fmt::format(
        "set label {} at screen {:.4f}, screen {:.4f} left font font.','.sprintf('%.1f', points*0.85)\n",
        script_text(lines[i]), 0.1 / f.width,
        (bottom + kKeyRow * static_cast<double>(lines.size() - i - 1) + 0.07) / f.height);
  }
}

double log10_ppl(const InterventionRun& run) {
  return run.nll_nats / std::numbers::ln10;
}

/// 'text' position, ... for perplexities on an axis of their log10.
std::string ppl_tics(double low, double high) {
  std::vector<std::pair<double, std::string>> tics;
  if (high - low >= 2 || high > 250) {  // else all are numbers
    const double step = std::max(1.0, std::ceil((high - low) / 7));
    for (double e = std::ceil(low); e <= high; e += step)
      tics.emplace_back(
          e, e >= 0 && e < 5 ? fmt::format("{:.0f}", std::pow(10, e)) : fmt::format("1e{:.0f}", e));
  } else {
    // Steps of 1, 2 or 5, of which four or so fit.
    const double from = std::pow(10, low), to = std::pow(10, high);
    const double power = std::pow(10, std::floor(std::log10((to - from) / 4)));
    double step = power;
    for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
      step = factor * power;
      if (step >= (to - from) / 5) break;
    }
    double last = -INFINITY;
    for (double v = std::ceil(from / step) * step; v <= to * (1 + 1e-12); v += step) {
      const double at = std::log10(v);
      if (at - last < (high - low) / 9) continue;  // on a log scale the upper ones stand closer
      tics.emplace_back(at, fmt::format("{:.6g}", v));
      last = at;
    }
  }
  std::string text;
  for (const auto& [at, label] : tics)
    text += fmt::format("{}'{}' {:.10g}", text.empty() ? "" : ", ", label, at);
  return text;
}

std::string title_text(const Interventions& r, const std::string& what) {
  std::string corpora = printable(fmt::format("{}", fmt::join(r.text.corpora, ", ")));
  return fmt::format("{}, {}: {}", shorten(printable(r.model.name), 40), shorten(corpora, 30), what);
}

Figure perplexities(const Interventions& r, const std::string& name) {
  const std::vector<Edited> list = edited_runs(r);
  const Names names = names_of(list, kNameColumns);
  Figure f{name, "perplexity of the plain run, the edited ones and their controls"};
  f.width = kDoubleInches;
  double low = log10_ppl(r.runs.front()), high = low;
  const auto take = [&](double x) {
    if (!std::isfinite(x)) return;
    low = std::min(low, x);
    high = std::max(high, x);
  };
  bool any_controls = false;
  std::string labels = "# row, edits\n", edits = "# row, log10 of the perplexity\n",
              random = "# row, log10 of the controls' least, median and largest perplexity\n";
  size_t widest = 8;
  for (size_t i = 0; i < list.size(); ++i) {
    widest = std::max(widest, display_width(names.shown[i]));
    labels += fmt::format("{}\t{}\n", i, data_text(names.shown[i]));
    take(log10_ppl(*list[i].run));
    edits += fmt::format("{}\t{}\n", i, data_number(log10_ppl(*list[i].run)));
    std::vector<double> found;
    for (const InterventionRun* control : list[i].controls) {
      if (std::isfinite(control->nll_nats)) found.push_back(log10_ppl(*control));
    }
    if (found.empty()) continue;
    any_controls = true;
    std::sort(found.begin(), found.end());
    take(found.front());
    take(found.back());
    const double median = (found[(found.size() - 1) / 2] + found[found.size() / 2]) / 2;
    random += fmt::format("{}\t{}\t{}\t{}\n", i, data_number(found.front()), data_number(median),
                          data_number(found.back()));
  }
  if (!any_controls) random += "NaN\tNaN\tNaN\tNaN\n";
  f.data = labels + "\n\n" + edits + "\n\n" + random;
  const double pad = std::clamp(0.04 * (high - low), 0.002, 0.5);
  low -= pad;
  high += pad;

  const double key = key_height(names);
  const double below = 0.58 + key, rows = kRow * static_cast<double>(std::max<size_t>(list.size(), 2));
  f.height = below + rows + 0.25;
  f.settings += fmt::format(
      "set label 1 {} at screen 0.5, 1-0.1/height center\n"
      "set xlabel 'Perplexity, log scale' offset 0,0.8; set xrange [{:.8g}:{:.8g}]; set xtics ({}) offset "
      "0,0.3\n"
      "set yrange [{}:-0.6]; unset ytics; set border 1; set grid xtics ls 100; unset key\n"
      "set lmargin at screen {:.4f}; set rmargin at screen 0.97; set tmargin at screen 1-0.21/height\n"
      "set bmargin at screen {:.4f}/height\n"
      "set arrow from {:.8g}, graph 0 to {:.8g}, graph 1 nohead lc rgb series[4] lw 1 dt (4,4) back\n",
      script_text(title_text(r, "perplexity")), low, high, ppl_tics(low, high),
      static_cast<double>(std::max<size_t>(list.size(), 2)) - 0.4,
      (0.15 + kCharacter * static_cast<double>(widest)) / f.width, below, log10_ppl(r.runs.front()),
      log10_ppl(r.runs.front()));
  add_key(f, names.key, 0.22);
  f.plot =
      "  plot data index 2 using 3:1:2:4 with xerrorbars pt 5 ps 0.3 lw 1.2 lc rgb plain, \\\n"
      "    data index 1 using 2:1 with points pt 7 ps 0.5 lc rgb outlier, \\\n"
      "    data index 0 using (" +
      fmt::format("{:.8g}", low) + "):1:2 with labels noenhanced right offset -0.5,0\n";
  std::vector<Entry> legend = {{"Plain", "series[4]", -1, "lw 1 dt (4,4)"},
                               {"Edited", "outlier", 7, nullptr}};
  if (any_controls) legend.push_back({"Random edits: median and range", "plain", 5, "lw 1.2"});
  add_legend(f, legend, 3);
  return f;
}

/// Which number of a layer, and what it is called.
struct Number {
  double (*of)(const results::LayerState&);
  const char *axis, *title;
};

double of_layer(const InterventionRun& run, int64_t layer, const Number& number) {
  if (run.layers.empty() || layer < run.layers.front().layer) return results::kNone;
  return number.of(run.layers[static_cast<size_t>(layer - run.layers.front().layer)]);
}

Figure lines(const Interventions& r, const std::string& name, const std::vector<Edited>& list,
             const Number& number) {
  constexpr size_t kLegendColumns = 96;
  const Names names = names_of(list, kLegendColumns);
  Figure f{name, std::string(number.title) + " by layer, without and with the edits"};
  f.width = kDoubleInches;
  const double legend = 0.155 * static_cast<double>(list.size() + 1);
  const double key = key_height(names);
  f.height = 2.1 + legend + key;
  std::vector<std::vector<double>> rows;
  for (int64_t l = 0; l < r.model.layers; ++l) {
    std::vector<double>& row = rows.emplace_back();
    for (const Edited& edited : list) row.push_back(of_layer(*edited.run, l, number));
    row.push_back(of_layer(r.runs.front(), l, number));
  }
  std::vector<std::string> series = names.shown;
  series.emplace_back("Plain");
  f.settings = fmt::format(
      "set label 1 {} at screen 0.5, 1-0.1/height center\n"
      "set xlabel 'Layer' offset 0,0.8; set ylabel '{}' offset 1.2,0\n"
      "set xrange [-0.5:{}]; set xtics 0, {} offset 0,0.3\n"
      "set grid xtics ytics ls 100; unset key\n"
      "set lmargin at screen 0.09; set rmargin at screen 0.97; set tmargin at screen 1-0.21/height\n"
      "set bmargin at screen {:.4f}/height\n",
      script_text(title_text(r, number.title)), number.axis, static_cast<double>(r.model.layers) - 0.5,
      label_step(r.model.layers), 0.42 + legend + key);
  add_lines(f, "the edited runs in order, the plain one", rows, series, "modules", true, 1);
  add_key(f, names.key, legend + 0.08);
  return f;
}

Figure map(const Interventions& r, const std::string& name, const std::vector<Edited>& list,
           const Number& number) {
  constexpr size_t kMapColumns = 36;
  const Names names = names_of(list, kMapColumns);
  Figure f{name, std::string(number.title) + " by layer: log10 of what each edit makes of it"};
  f.width = kDoubleInches;
  std::string labels = "# row, edits\n", cells = "# row, layer, log10(edited / plain)\n";
  double most = 0.01;
  for (size_t i = 0; i < list.size(); ++i) {
    labels += fmt::format("{}\t{}\n", i, data_text(names.shown[i]));
    for (int64_t l = 0; l < r.model.layers; ++l) {
      const double after = of_layer(*list[i].run, l, number), before = of_layer(r.runs.front(), l, number);
      const double change = std::log10(after / before);
      if (!std::isfinite(change)) continue;  // gnuplot would paint the cell white
      cells += fmt::format("{}\t{}\t{}\n", i, l, data_number(change));
      most = std::max(most, std::abs(change));
    }
  }
  if (cells.find('\n') + 1 == cells.size()) cells += "NaN\tNaN\tNaN\n";
  f.data = labels + "\n\n" + cells;
  const double key = key_height(names);
  const double below = 0.42 + key;
  f.height = below + kRow * static_cast<double>(list.size()) + 0.25;
  f.settings += fmt::format(
      "set label 1 {} at screen 0.5, 1-0.1/height center\n"
      "set palette defined (-1 '#2166ac', -0.5 '#92c5de', 0 '#f7f7f7', 0.5 '#f4a582', 1 '#b2182b')\n"
      "set xrange [-0.5:{}]; set yrange [{}:-0.5]; set cbrange [{:g}:{:g}]; unset key; set border 0\n"
      "set xlabel 'Layer' offset 0,0.8; set xtics 0, {} scale 0 offset 0,0.3; unset ytics\n"
      "set cblabel 'log10(edited / plain)' offset -0.6,0; set cbtics scale 0.3 offset -0.6,0\n"
      "set colorbox user origin graph 1.02, graph 0 size graph 0.02, graph 1 noborder\n"
      "set lmargin at screen {:.4f}; set rmargin at screen 0.88; set tmargin at screen 1-0.21/height\n"
      "set bmargin at screen {:.4f}/height\n"
      // Layers before the first edited one are as they were.
      "set object 1 rectangle from graph 0,0 to graph 1,1 fs solid noborder fc rgb '#e4e4e4' behind\n",
      script_text(title_text(r, number.title)), static_cast<double>(r.model.layers) - 0.5,
      static_cast<double>(list.size()) - 0.5, -most, most, label_step(r.model.layers),
      (0.15 + kCharacter * static_cast<double>(kMapColumns)) / f.width, below);
  add_key(f, names.key, 0.04);
  f.plot =
      "  plot data index 1 using 2:1:(0.5):(0.5):3 with boxxyerror fs solid noborder fc palette, \\\n"
      "    data index 0 using (-0.5):1:2 with labels noenhanced right offset -0.5,0\n";
  return f;
}

Figure by_layer(const Interventions& r, const std::string& name, const Number& number) {
  const std::vector<Edited> list = edited_runs(r);
  return list.size() > kMostLines ? map(r, name, list, number) : lines(r, name, list, number);
}

using Make = Figure (*)(const Interventions&, const std::string&);
constexpr std::pair<const char*, Make> kFigures[] = {
    {"interventions_ppl", perplexities},
    {"interventions_max",
     [](const Interventions& r, const std::string& name) {
       return by_layer(r, name,
                       {[](const results::LayerState& state) { return state.max; }, "Largest |x|",
                        "largest value of the residual stream"});
     }},
    {"interventions_ratio",
     [](const Interventions& r, const std::string& name) {
       return by_layer(
           r, name,
           {[](const results::LayerState& state) { return state.max_over_median.value_or(results::kNone); },
            "Largest |x| / median", "largest value over the median"});
     }},
};

}  // namespace

std::vector<std::string> intervention_figure_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : kFigures) names.emplace_back(name);
  return names;
}

std::vector<Figure> make_intervention_figures(const Interventions& r,
                                              const std::vector<std::string>& wanted) {
  const std::vector<std::string> known = intervention_figure_names();
  for (const std::string& name : wanted) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest(name, known);
    throw UsageError(fmt::format("there is no figure {}; {}", printable(name),
                                 near.empty() ? fmt::format("known: {}", fmt::join(known, ", "))
                                              : fmt::format("did you mean {}?", near)));
  }
  std::vector<Figure> figures;
  for (const auto& [name, make] : kFigures) {
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end())
      figures.push_back(make(r, name));
  }
  return figures;
}

}  // namespace outliers::report
