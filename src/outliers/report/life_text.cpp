#include "outliers/report/life_text.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/format.h"
#include "outliers/report/results.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;
using Lines = std::vector<SummaryLine>;

size_t index(const ordered_json& value) {
  return value.get<size_t>();
}

/// "channel 3 of the initial token "<s>" of the prompt".
std::string place_words(const ordered_json& r, const ordered_json& place, const std::string& batch) {
  const std::string point = place["point"];
  const std::string token = token_name(place["token_text"], place["class"], place["token"]);
  const bool prompt = batch == "prompt";
  const std::string of = r.contains("images") ? fmt::format("image {}", place["sequence"].get<int64_t>())
                         : prompt
                             ? "the prompt"
                             : fmt::format("sequence {} of the corpus", place["sequence"].get<int64_t>());
  return fmt::format("{} {} {}of {} of {}", point.ends_with("down_in") ? "neuron" : "channel",
                     place["channel"].get<int64_t>(), in_expert(place), token, of);
}

Lines where_it_ends(const ordered_json& r) {
  const ordered_json &first = first_nonfinite(r), &before = first["before"];
  const int64_t layer = first["layer"];
  const std::string batch = first["batch"];
  std::string text = fmt::format("{} in layer {}, {}: {}", first["value"].get<std::string>(), layer,
                                 printable(first["point"], 40), place_words(r, first, batch));
  if (!before.is_null()) {
    text += fmt::format("; before it {} of layer {} reaches {}", printable(before["point"], 40),
                        before["layer"].get<int64_t>(), number(std::abs(number_of(before["value"]))));
    if (before.contains("token")) text += " in " + place_words(r, before, batch);
  }
  const std::string rest =
      layer == 0 ? "; only the weights can" : "; all below but the weights is of " + layers_words(r);
  return {{"not finite", fmt::format("{}. From layer {} on the story cannot be told{}", text, layer, rest)}};
}

// What made the place large (or small again): the neuron whose product leads the MLP's sum, or attention.
std::string writer(const ordered_json& write) {
  const double mlp = number_of(write["mlp"]), attention = number_of(write["attention"]);
  if (std::abs(attention) > std::abs(mlp)) return fmt::format("attention adds {}", number(attention));
  std::string text = fmt::format("the MLP adds {}", number(mlp));
  if (write["neurons"].empty()) return text;
  std::string neurons;
  const double first = std::abs(number_of(write["neurons"][0]["product"]));
  for (const auto& n : write["neurons"]) {
    if (std::abs(number_of(n["product"])) < first / 10) break;
    neurons += fmt::format("{}{} {}({} x {})", neurons.empty() ? "" : ", ", n["neuron"].get<int64_t>(),
                           in_expert(n), shown(n["down_in"]), shown(n["weight"]));
  }
  return fmt::format("{}, led by down_in neuron{} {}", text,
                     neurons.find(',') == std::string::npos ? "" : "s", neurons);
}

std::string birth_text(const ordered_json& r, size_t born) {
  const ordered_json &birth = r["writes"][born]["largest"], &neurons = birth["neurons"];
  const bool by_mlp =
      !neurons.empty() && std::abs(number_of(birth["mlp"])) >= std::abs(number_of(birth["attention"]));
  const std::string by = by_mlp
                             ? fmt::format("{}{} column {} (down_in {})", of_expert(neurons[0]),
                                           neurons[0].contains("expert") ? "down_proj" : "mlp.down_proj",
                                           neurons[0]["neuron"].get<int64_t>(), shown(neurons[0]["down_in"]))
                             : "attention";
  return fmt::format("in layer {}: {} writes channel {} of {}: {} where the median is {}", born, by,
                     birth["channel"].get<int64_t>(), token_name(r["prompt"], birth["token"]),
                     number(std::abs(number_of(birth["resid_out"]))),
                     shown(r["activations"]["prompt"]["resid_out"][born]["median"]));
}

std::string carried_text(const ordered_json& r, size_t last, const char* how_far) {
  const size_t peak = index(r["summary"]["peak_layer"]);
  const ordered_json& top_values = r["activations"]["prompt"]["resid_out"][peak]["top"];
  std::string text = fmt::format("to layer {}{}, largest in layer {}", last, how_far, peak);
  if (top_values.empty()) return text;
  const ordered_json& top = top_values[0];
  return text + fmt::format(": {} in channel {} of {}", number(std::abs(number_of(top["value"]))),
                            top["channel"].get<int64_t>(), token_name(r["prompt"], top["token"]));
}

std::string removed_text(const ordered_json& r, size_t removed) {
  const ordered_json& write = r["writes"][removed];
  if (!write.contains("followed")) return fmt::format("in layer {}", removed);
  const ordered_json& w = write["followed"];
  return fmt::format("in layer {}: {} to channel {}, which held {}; the layer leaves {}", removed, writer(w),
                     w["channel"].get<int64_t>(), shown(w["resid_in"]),
                     shown(r["activations"]["prompt"]["resid_out"][removed]["max"]));
}

}  // namespace

Lines life_lines(const ordered_json& r) {
  const ordered_json &s = r["summary"], &layers = r["activations"]["prompt"]["resid_out"];
  const size_t told = told_layers(r);
  const bool ends = !first_nonfinite(r).is_null();
  Lines lines;
  if (ends) lines = where_it_ends(r);
  if (!s["found"].get<bool>() || s["born_layer"].is_null() || s["peak_layer"].is_null()) {
    if (ends) {
      lines.push_back({"born", told == 0
                                   ? "cannot be told"
                                   : fmt::format("not in {}; later it cannot be told", layers_words(r))});
      lines.push_back({"carried", "cannot be told"});
      lines.push_back({"removed", "cannot be told"});
      return lines;
    }
    double tallest = 0;
    for (const auto& layer : layers) {
      if (number_of(layer["median"]) > 0)
        tallest = std::max(tallest, number_of(layer["max"]) / number_of(layer["median"]));
    }
    return {{"outlier", fmt::format("none: no value of the residual stream exceeds {} medians of its layer",
                                    number(tallest))}};
  }
  lines.push_back({"born", birth_text(r, index(s["born_layer"]))});
  const bool removed_somewhere = !s["removed_layer"].is_null();
  const size_t removed = removed_somewhere ? index(s["removed_layer"]) : told;
  const bool open = ends && !removed_somewhere;
  lines.push_back({"carried", carried_text(r, removed > 0 ? removed - 1 : 0, open ? " at least" : "") +
                                  (open ? "; what follows cannot be told" : "")});
  lines.push_back({"removed", open                ? "cannot be told"
                              : removed_somewhere ? removed_text(r, removed)
                                                  : "by no layer; the final norm takes it away"});
  return lines;
}

std::vector<std::string> life_strip(const ordered_json& r, size_t columns) {
  std::vector<double> maxima;
  const size_t told = told_layers(r);
  for (const auto& layer : r["activations"]["prompt"]["resid_out"])
    maxima.push_back(maxima.size() < told ? number_of(layer["max"]) : NAN);
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

}  // namespace outliers::report
