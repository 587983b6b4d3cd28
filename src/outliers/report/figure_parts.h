// What figures are put together from.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "outliers/report/figure.h"
#include "outliers/report/results.h"

namespace outliers::report {

/// Tokens that a figure of one token after another shows.
inline constexpr int64_t kShownTokens = 64;

/// The model's name, which of several prompts or corpora it is of (nullptr: none), and `more`, in about as
/// many columns.
std::string title_of(const Results& r, const results::Input* input, const std::string& more,
                     size_t columns = 46);

/// Tokens whose activations at the point are outliers of the layer, the largest first; none where activations
/// were not measured.
std::vector<int64_t> outlier_tokens(const Results& r, const results::Input& prompt, const char* point,
                                    int64_t layer);
bool contains(const std::vector<int64_t>& list, int64_t value);
/// Labels for the first `count` tokens of which about `room` fit; those of `first` where they can.
std::vector<std::string> labels_of(const results::Input& prompt, int64_t count, int64_t room,
                                   const std::vector<int64_t>& first);
/// ", first 64 of 100 tokens", or nothing where these are all.
std::string first_tokens(int64_t count, int64_t all);

/// A label beside an axis, moved from its value where it would stand on another.
struct Mark {
  double at, label_at;
  std::string text;
};
/// Moves labels apart to `distance`, keeping their order and staying within 0..end.
void spread(std::vector<Mark>& marks, double distance, double end);

/// The largest value by abs of each of `parts` parts of values [C], signed, at its own place; a part without
/// a finite value is a gap.
std::vector<std::pair<int64_t, double>> outline(const at::Tensor& values, int64_t parts);
/// Of peaks by channel, those to name: at least `share` of the largest one, `max`, and at most `most`, the
/// largest. None where very many are, as in a figure that is flat.
std::vector<Mark> named_peaks(const std::map<int64_t, double>& peaks, double max, double share, size_t most);
/// The floor and the back walls of a box from x0, 0, `floor` to x1, y1, z1 (the script's names), its front
/// edges, and the styles of its lines.
std::string box_walls(const char* floor);
/// A line at height z along the back walls, with its number to the right.
std::string box_line(double z, double offset);

/// A block of places and texts; one that shows nothing where there are none, so that indices stay.
std::string text_block(const char* head, const std::vector<std::pair<double, std::string>>& rows);
std::string mark_block(const std::vector<Mark>& marks);

/// An entry of a legend: a sample and its text.
struct Entry {
  std::string text, color;
  int point;         // gnuplot's number; 0: a box, -1: none
  const char* line;  // style of the line through the point; nullptr: none
};
/// Draws the legend below a plot, in rows of `columns`. gnuplot's own key guesses the width of text, and for
/// every terminal differently.
void add_legend(Figure& f, const std::vector<Entry>& entries, size_t columns);

/// A scale is logarithmic where the largest value is this many times the smallest.
inline constexpr double kLogSpan = 1000;
/// The scale for lines of these values: logarithmic where all are positive and span more than kLogSpan.
std::string y_scale(const std::vector<std::vector<double>>& rows);
/// Rows [layer][series] as data.
std::string layer_table(const char* head, const std::vector<std::vector<double>>& rows);
/// Lines of the columns of such rows, at most as many as there are colours, with a legend in rows of
/// `columns`; the last series may be a reference.
void add_lines(Figure& f, const char* head, const std::vector<std::vector<double>>& rows,
               const std::vector<std::string>& names, const char* colors, bool last_is_reference = true,
               size_t columns = 4);

/// Labels of an axis of `count` whole numbers stand this far apart.
int64_t label_step(int64_t count);

}  // namespace outliers::report
