#include "outliers/report/life_text.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <fmt/format.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/core/table.h"
#include "outliers/report/format.h"
#include "outliers/report/measured.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using Lines = std::vector<SummaryLine>;

/// One value of a point.
struct Spot {
  std::string point;
  int64_t sequence, token, channel;
  std::optional<results::Expert> expert;
  std::string token_text, token_class;
};

/// "channel 3 of the initial token "<s>" of the prompt".
std::string spot_words(const results::Results& r, const Spot& s, const results::Input& input) {
  const std::string of = r.images ? fmt::format("image {}", s.sequence)
                         : input.is_prompt()
                             ? the_input(r, input)
                             : fmt::format("sequence {} of {}", s.sequence, the_input(r, input));
  return fmt::format("{} {} {}of {} of {}", s.point.ends_with("down_in") ? "neuron" : "channel", s.channel,
                     in_expert(s.expert), token_name(s.token_text, s.token_class, s.token), of);
}

/// What a value before is told of with its place, where that is known.
std::string before_words(const results::Results& r, const results::Before& x, const results::Input& input) {
  std::string text = fmt::format("; before it {} of layer {} reaches {}", printable(x.point, 40), x.layer,
                                 number(std::abs(x.value)));
  if (!x.sequence || !x.token || !x.channel) return text;
  const Spot spot{x.point,
                  *x.sequence,
                  *x.token,
                  *x.channel,
                  x.expert,
                  x.token_text.value_or(""),
                  x.token_class.value_or("")};
  return text + " in " + spot_words(r, spot, input);
}

Lines where_it_ends(const results::Results& r, const results::FirstNonfinite& first) {
  const results::Input& input = *r.input(first.input);
  const Spot spot{first.point,  first.sequence,   first.token,      first.channel,
                  first.expert, first.token_text, first.token_class};
  std::string text = fmt::format("{} in layer {}, {}: {}", first.value, first.layer,
                                 printable(first.point, 40), spot_words(r, spot, input));
  if (first.before) text += before_words(r, *first.before, input);
  const std::string rest =
      first.layer == 0 ? "; only the weights can" : "; all below but the weights is of " + layers_words(r);
  return {{"not finite",
           fmt::format("{}. From layer {} on the story cannot be told{}", text, first.layer, rest)}};
}

/// What made the place large (or small again): the neuron whose product leads the MLP's sum, or attention.
std::string writer(const results::Write& write) {
  if (std::abs(write.attention) > std::abs(write.mlp))
    return fmt::format("attention adds {}", number(write.attention));
  std::string text = fmt::format("the MLP adds {}", number(write.mlp));
  if (write.neurons.empty()) return text;
  std::string neurons;
  const double first = std::abs(write.neurons[0].product);
  for (const results::Neuron& n : write.neurons) {
    if (std::abs(n.product) < first / 10) break;
    neurons += fmt::format("{}{} {}({} x {})", neurons.empty() ? "" : ", ", n.neuron, in_expert(n.expert),
                           number(n.down_in), number(n.weight));
  }
  return fmt::format("{}, led by down_in neuron{} {}", text,
                     neurons.find(',') == std::string::npos ? "" : "s", neurons);
}

/// What a prompt tells, and from where.
struct Story {
  const results::Input& prompt;
  const results::Life& life;
  Layers<results::Activations> layers;  ///< of resid_out
  Layers<results::Writes> writes;
};

std::string birth_text(const Story& s, size_t born) {
  const std::string median = number(s.layers[born]->median);
  if (s.writes.empty()) {
    const auto& top = s.layers[born]->top;
    if (top.empty()) return fmt::format("in layer {}", born);
    return fmt::format("in layer {}: channel {} of {}: {} where the median is {}", born, top[0].channel,
                       token_name(s.prompt, top[0].token), number(std::abs(top[0].value)), median);
  }
  const results::Write& birth = s.writes[born]->largest;
  const bool by_mlp = !birth.neurons.empty() && std::abs(birth.mlp) >= std::abs(birth.attention);
  std::string by = "attention";
  if (by_mlp) {
    const results::Neuron& n = birth.neurons[0];
    by = fmt::format("{}{} column {} (down_in {})", of_expert(n.expert),
                     n.expert ? "down_proj" : "mlp.down_proj", n.neuron, number(n.down_in));
  }
  return fmt::format("in layer {}: {} writes channel {} of {}: {} where the median is {}", born, by,
                     birth.channel, token_name(s.prompt, birth.token), number(std::abs(birth.resid_out)),
                     median);
}

std::string carried_text(const Story& s, int64_t last, const char* how_far) {
  const auto peak = static_cast<size_t>(*s.life.peak_layer);
  std::string text = fmt::format("to layer {}{}, largest in layer {}", last, how_far, peak);
  if (s.layers[peak]->top.empty()) return text;
  const results::Place& top = s.layers[peak]->top[0];
  return text + fmt::format(": {} in channel {} of {}", number(std::abs(top.value)), top.channel,
                            token_name(s.prompt, top.token));
}

std::string removed_text(const Story& s, size_t removed) {
  if (s.writes.empty() || !s.writes[removed]->followed) return fmt::format("in layer {}", removed);
  const results::Write& w = *s.writes[removed]->followed;
  return fmt::format("in layer {}: {} to channel {}, which held {}; the layer leaves {}", removed, writer(w),
                     w.channel, number(w.resid_in), number(s.layers[removed]->max));
}

/// Where there is no outlier, or none before values stop being finite.
Lines nothing_born(const results::Results& r, const Layers<results::Activations>& layers) {
  if (r.summary.first_nonfinite) {
    return {
        {"born", r.told_layers() == 0 ? "cannot be told"
                                      : fmt::format("not in {}; later it cannot be told", layers_words(r))},
        {"carried", "cannot be told"},
        {"removed", "cannot be told"}};
  }
  double tallest = 0;
  for (const results::Activations* layer : layers) {
    if (layer->median > 0) tallest = std::max(tallest, layer->max / layer->median);
  }
  return {{"outlier", fmt::format("none: no value of the residual stream exceeds {} medians of its layer",
                                  number(tallest))}};
}

Lines story_lines(const results::Results& r, const Story& s) {
  if (!s.life.found) return nothing_born(r, s.layers);
  const std::optional<int64_t>& removed = s.life.removed_layer;
  const bool open = r.summary.first_nonfinite && !removed;
  const int64_t end = removed.value_or(r.told_layers());
  return {{"born", birth_text(s, static_cast<size_t>(*s.life.born_layer))},
          {"carried", carried_text(s, std::max<int64_t>(end - 1, 0), open ? " at least" : "") +
                          (open ? "; what follows cannot be told" : "")},
          {"removed", open      ? "cannot be told"
                      : removed ? removed_text(s, static_cast<size_t>(*removed))
                                : "by no layer; the final norm takes it away"}};
}

}  // namespace

Lines life_lines(const results::Results& r) {
  Lines lines;
  if (r.summary.first_nonfinite) lines = where_it_ends(r, *r.summary.first_nonfinite);
  const results::Input* prompt = r.prompt();
  const results::Life* life = prompt == nullptr ? nullptr : life_of(r, *prompt);
  if (life == nullptr) return lines;
  const Story story{*prompt, *life, activation_layers(r, *prompt, "resid_out"), write_layers(r, *prompt)};
  if (story.layers.empty()) return lines;
  for (SummaryLine& line : story_lines(r, story)) lines.push_back(std::move(line));
  return lines;
}

std::vector<std::string> life_strip(const results::Results& r, size_t columns) {
  const results::Input* prompt = r.prompt();
  std::vector<double> maxima;
  if (prompt != nullptr) {
    for (const results::Activations* layer : activation_layers(r, *prompt, "resid_out"))
      maxima.push_back(static_cast<int64_t>(maxima.size()) < r.told_layers() ? layer->max : results::kNone);
  }
  if (maxima.empty()) return {};
  const std::vector<std::string> cells = sparkline_cells(maxima);
  const size_t digits = fmt::formatted_size("{}", cells.size() - 1);
  const size_t around = std::string_view("layer ").size() + 2 * digits + 2;
  // Rows of eights, so that layers are found.
  const size_t most = std::max<size_t>(columns, around + 1) - around;
  const size_t each = cells.size() <= most || most < 8 ? most : most - most % 8;
  std::vector<std::string> rows;
  for (size_t from = 0; from < cells.size(); from += each) {
    const size_t end = std::min(from + each, cells.size());
    std::string row = cells.size() <= each ? "layer 0 " : fmt::format("layer {:>{}} ", from, digits);
    for (size_t l = from; l < end; ++l) row += cells[l];
    rows.push_back(fmt::format("{} {}", row, end - 1));
  }
  const std::string caption = "max of the residual stream, log scale";
  if (rows.size() == 1 && display_width(rows[0]) + 2 + caption.size() <= columns) {
    rows[0] += "  " + caption;
  } else {
    std::istringstream lines(fold(caption, columns, 0));
    for (std::string line; std::getline(lines, line);) rows.push_back(line);
  }
  return rows;
}

std::optional<int64_t> peak_layer(const results::Results& r, const results::Input& prompt) {
  const results::Life* life = life_of(r, prompt);
  if (life != nullptr && life->peak_layer) return life->peak_layer;
  const auto layers = activation_layers(r, prompt, "resid_out");
  std::optional<int64_t> peak;
  for (int64_t l = 0; l < std::min(r.told_layers(), static_cast<int64_t>(layers.size())); ++l) {
    if (!peak || layers[static_cast<size_t>(l)]->max > layers[static_cast<size_t>(*peak)]->max) peak = l;
  }
  return peak;
}

std::string life_sentence(const results::Results& r, const results::Input* prompt) {
  const results::Life* life = prompt == nullptr ? nullptr : life_of(r, *prompt);
  std::string end;
  if (const auto& first = r.summary.first_nonfinite) {
    end = fmt::format("{} in layer {} ({})", first->value, first->layer, printable(first->point, 40));
    if (r.told_layers() == 0) return "cannot be told: " + end;
    end += ": from there on it cannot be told";
  }
  const auto layers =
      prompt == nullptr ? Layers<results::Activations>() : activation_layers(r, *prompt, "resid_out");
  if (life == nullptr || layers.empty()) return end.empty() ? "not measured" : "not measured; " + end;
  if (!life->found)
    return end.empty() ? "no systematic outlier" : fmt::format("no outlier in {}; {}", layers_words(r), end);
  const results::Extent peak = layers[static_cast<size_t>(*life->peak_layer)]->extent();
  std::string text = fmt::format("born in layer {} of {}, largest in {} ({}{})", *life->born_layer,
                                 r.model.layers, *life->peak_layer, number(peak.max),
                                 peak.median > 0 ? fmt::format(", {} medians", number(peak.ratio())) : "");
  if (life->removed_layer) {
    text += fmt::format(", removed in {}", *life->removed_layer);
  } else if (end.empty()) {
    text += ", removed by no layer";
  }
  return end.empty() ? text : text + "; " + end;
}

}  // namespace outliers::report
