// One static figure: a gnuplot script and its data, side by side, so that an author can restyle and redraw it
// by hand. Texts that come out of a model (tokens) go into the data only, quoted, and are drawn without
// gnuplot's markup; the model's name goes into the script as a single-quoted string. Neither can be code.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "outliers/results/field.h"

namespace outliers::report {

/// Journal widths: one column, and the page of two.
inline constexpr double kSingleInches = 3.3, kDoubleInches = 6.9;

struct Figure {
  std::string name;                  ///< "exist_down": its files are NAME.gp, NAME.dat and NAME.FORMAT
  std::string shows;                 ///< one line for the head of the script
  double width = 3.3, height = 2.3;  ///< inches
  std::string settings = {};         ///< gnuplot commands that every format shares
  std::string plot = {};             ///< the plot command
  std::string data = {};             ///< tab-separated blocks, by index
};

/// The projections in the order in which figures and pages show them and palettes colour them.
inline constexpr std::array kShownModules = {"down", "up", "gate", "q", "k", "v", "o"};
/// What legends call results::kClasses.
inline constexpr std::array kClassTitles = {"Initial token", "Strong delimiter", "Weak word", "Other",
                                            "CLS",           "Register",         "Patch"};
static_assert(kClassTitles.size() == std::size(results::kClasses));

struct Palette {
  std::string name;
  std::string outlier, plain, weight;  ///< 3D figures
  std::vector<std::string> series;     ///< lines, by rank; the last is for medians
  std::vector<std::string> modules;    ///< of kShownModules
  std::vector<std::string> classes;    ///< of results::kClasses
  std::vector<std::string> heat;       ///< attention, low to high
};

/// "paper" has the colours of 2502.06415's figures; "safe" keeps apart what red-green colour blindness mixes
/// (Okabe and Ito, 2008), and prints in grey.
const std::vector<Palette>& palettes();

/// What figures are drawn as, by the endings of their files.
inline constexpr std::array kFormats = {"pdf", "svg", "png"};

/// The whole of NAME.gp.
std::string script_of(const Figure& figure, const Palette& palette);

/// `text` as one quoted field of a data file.
std::string data_text(const std::string& text);
/// `text` as a string constant of a script.
std::string script_text(const std::string& text);
/// A number of a data file; NaN and infinities are written NaN, which gnuplot leaves out.
std::string data_number(double value);

/// A token's display text on an axis: without the space in front of a word, other spaces as ␣,
/// shortened; ∅ for an empty one.
std::string token_label(const std::string& token, size_t columns = 10);

/// Which of `count` labels to show so that shown ones stand at least `distance` apart: those of `first` come
/// before the rest, in their order.
std::vector<bool> thin_out(int64_t count, int64_t distance, const std::vector<int64_t>& first = {});

/// Round tick positions that cover 0..max: between 2 and 5 of them.
std::vector<double> ticks(double max);
/// 0, 250, 1.5k, 100k.
std::string tick_text(double value);

}  // namespace outliers::report
