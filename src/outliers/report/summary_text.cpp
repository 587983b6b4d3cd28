#include "outliers/report/summary_text.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/format.h"
#include "outliers/report/results.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

constexpr size_t kWidth = 100, kIndent = 12;

using Lines = std::vector<SummaryLine>;

Lines line(const char* label, const std::string& text) {
  return {{label, text}};
}

Lines operator+(Lines a, const Lines& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string quoted(const std::string& text) {
  return fmt::format("\"{}\"", printable(text, 48));
}

std::string shown(const ordered_json& value) {
  return number(number_of(value));
}

size_t index(const ordered_json& value) {
  return value.get<size_t>();
}

// "strong_delimiter" as words.
std::string class_words(std::string name) {
  if (name == "cls") return "CLS";
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// "the initial token "Summer"", "token 3 "." (strong delimiter)"; "the CLS token", "register 0", "patch
// r3c7".
std::string token_name(const ordered_json& prompt, int64_t token) {
  const std::string text = quoted(prompt["tokens"][static_cast<size_t>(token)]);
  const std::string kind = class_words(prompt["classes"][static_cast<size_t>(token)]);
  if (kind == "CLS") return "the CLS token";
  if (kind == "register") return fmt::format("register {}", token - 1);
  if (kind == "patch") return "patch " + printable(prompt["tokens"][static_cast<size_t>(token)], 48);
  return token == 0 ? fmt::format("the initial token {}", text)
                    : fmt::format("token {} {} ({})", token, text, kind);
}

// "expert 3", "the shared expert", or nothing in a layer without experts.
std::string expert(const ordered_json& place) {
  if (!place.contains("expert")) return "";
  return place["expert"].is_string() ? "the shared expert"
                                     : fmt::format("expert {}", place["expert"].get<int64_t>());
}
std::string of_expert(const ordered_json& place) {
  return place.contains("expert") ? expert(place) + "'s " : "";
}
std::string in_expert(const ordered_json& place) {
  return place.contains("expert") ? "of " + expert(place) + " " : "";
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

std::string heading(const ordered_json& r) {
  const ordered_json& m = r["model"];
  std::string experts;
  if (m.contains("experts")) {
    experts = fmt::format(" of {} experts", m["experts"]["count"].get<int64_t>());
  }
  return fmt::format("{} ({}, {}, {} layers{}, D {}, {} parameters, {})\n", m["name"].get<std::string>(),
                     m["family"].get<std::string>(), m["format"].get<std::string>(),
                     m["layers"].get<int64_t>(), experts, m["width"].get<int64_t>(), count(m["parameters"]),
                     bytes(m["weight_bytes"]));
}

std::string measured(const ordered_json& r) {
  const ordered_json& run = r["run"];
  if (r.contains("images")) {
    const ordered_json& images = r["images"];
    return fmt::format("image {} ({} x {} patches, {} tokens), {}, {} on {}", quoted(r["prompt"]["text"]),
                       images["rows"].get<int64_t>(), images["columns"].get<int64_t>(),
                       r["prompt"]["ids"].size(), run["corpus"].get<std::string>(),
                       run["dtype"].get<std::string>(), run["device"].get<std::string>());
  }
  return fmt::format("prompt {} ({} tokens), {} x {} tokens of {}, BOS {}, {} on {}",
                     quoted(r["prompt"]["text"]), r["prompt"]["ids"].size(), run["sequences"].get<int64_t>(),
                     run["tokens_per_sequence"].get<int64_t>(), run["corpus"].get<std::string>(),
                     run["bos"].get<std::string>(), run["dtype"].get<std::string>(),
                     run["device"].get<std::string>());
}

Lines life(const ordered_json& r) {
  const ordered_json& s = r["summary"];
  const ordered_json& layers = r["activations"]["prompt"]["resid_out"];
  const ordered_json& writes = r["writes"];
  std::vector<double> maxima;
  for (const auto& layer : layers) maxima.push_back(number_of(layer["max"]));
  const std::string strip = fmt::format("layer 0 {} {}  max of the residual stream, log scale",
                                        sparkline(maxima), maxima.size() - 1);
  if (!s["found"].get<bool>() || s["born_layer"].is_null() || s["peak_layer"].is_null()) {
    double tallest = 0;
    for (const auto& layer : layers) {
      if (number_of(layer["median"]) > 0)
        tallest = std::max(tallest, number_of(layer["max"]) / number_of(layer["median"]));
    }
    return line("outlier",
                fmt::format("none: no value of the residual stream exceeds {} medians of its layer",
                            number(tallest))) +
           line("", strip);
  }
  const size_t born = index(s["born_layer"]), peak = index(s["peak_layer"]);
  const ordered_json& birth = writes[born]["largest"];
  Lines text;
  const ordered_json& neurons = birth["neurons"];
  if (!neurons.empty() && std::abs(number_of(birth["mlp"])) >= std::abs(number_of(birth["attention"]))) {
    text = line("born",
                fmt::format("in layer {}: {}{} column {} (down_in {}) writes channel {} of "
                            "{}: {} where the median is {}",
                            born, of_expert(neurons[0]),
                            neurons[0].contains("expert") ? "down_proj" : "mlp.down_proj",
                            neurons[0]["neuron"].get<int64_t>(), shown(neurons[0]["down_in"]),
                            birth["channel"].get<int64_t>(), token_name(r["prompt"], birth["token"]),
                            number(std::abs(number_of(birth["resid_out"]))), shown(layers[born]["median"])));
  } else {
    text = line("born",
                fmt::format("in layer {}: attention writes channel {} of {}: {} where the median is {}", born,
                            birth["channel"].get<int64_t>(), token_name(r["prompt"], birth["token"]),
                            number(std::abs(number_of(birth["resid_out"]))), shown(layers[born]["median"])));
  }
  const bool removed_somewhere = !s["removed_layer"].is_null();
  const size_t removed = removed_somewhere ? index(s["removed_layer"]) : maxima.size();
  std::string carried = fmt::format("to layer {}, largest in layer {}", removed > 0 ? removed - 1 : 0, peak);
  if (!layers[peak]["top"].empty()) {
    const ordered_json& top = layers[peak]["top"][0];
    carried += fmt::format(": {} in channel {} of {}", number(std::abs(number_of(top["value"]))),
                           top["channel"].get<int64_t>(), token_name(r["prompt"], top["token"]));
  }
  text = text + line("carried", carried);
  if (!removed_somewhere) {
    text = text + line("removed", "by no layer; the final norm takes it away");
  } else if (writes[removed].contains("followed")) {
    const ordered_json& w = writes[removed]["followed"];
    text = text +
           line("removed", fmt::format("in layer {}: {} to channel {}, which held {}; the layer leaves {}",
                                       removed, writer(w), w["channel"].get<int64_t>(), shown(w["resid_in"]),
                                       shown(layers[removed]["max"])));
  } else {
    text = text + line("removed", fmt::format("in layer {}", removed));
  }
  return text + line("", strip);
}

Lines places(const ordered_json& r) {
  const ordered_json& s = r["summary"];
  std::string channels;
  size_t shown = 0;
  for (const auto& channel : s["massive_channels"]) {
    if (++shown > 8) break;
    channels += fmt::format("{}{}", channels.empty() ? "" : ", ", channel.get<int64_t>());
  }
  if (s["massive_channels"].size() > 8)
    channels += fmt::format(" and {} more", s["massive_channels"].size() - 8);
  std::string tokens;
  shown = 0;
  for (const auto& token : s["massive_tokens"]) {
    if (++shown > 5) break;
    tokens += fmt::format("{}{} {} (layers {}-{})", tokens.empty() ? "" : ", ", token["token"].get<int64_t>(),
                          quoted(token["text"]), token["first_layer"].get<int64_t>(),
                          token["last_layer"].get<int64_t>());
  }
  if (s["massive_tokens"].size() > 5) tokens += fmt::format(" and {} more", s["massive_tokens"].size() - 5);
  if (channels.empty()) return line("massive", "no activation is above 100 and above 1,000 medians");
  return line("massive", fmt::format("channels {}; tokens {}", channels, tokens));
}

Lines weights(const ordered_json& r) {
  struct Score {
    double score;
    int64_t layer;
    std::string module, axis;
    int64_t index;
  };
  std::vector<Score> scores;
  for (const auto& layer : r["weights"]) {
    for (const auto& [name, m] : layer["modules"].items()) {
      const double score = number_of(m["score"]);
      if (std::isfinite(score)) {
        scores.push_back({score, layer["layer"], of_expert(m) + name, m["axis"], m["index"]});
      }
    }
  }
  if (scores.empty()) return {};
  std::stable_sort(scores.begin(), scores.end(),
                   [](const Score& a, const Score& b) { return a.score > b.score; });
  const double median = scores[scores.size() / 2].score;
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, scores.size()); ++i) {
    text += fmt::format("{}{} at layer {} {} {} {}", i == 0 ? "" : ", ", number(scores[i].score),
                        scores[i].layer, scores[i].module, scores[i].axis, scores[i].index);
  }
  return line("weights",
              fmt::format("max/mean of abs W {}; median of all projections {}", text, number(median)));
}

Lines attention(const ordered_json& r) {
  const ordered_json& layers = r["attention"]["corpus"];
  const double tokens = r["run"]["tokens_per_sequence"];
  size_t best = 0;
  double best_score = -1, sink = 0;
  int64_t heads = 0, keys = 0;
  std::map<std::string, int64_t> classes;
  for (size_t l = 0; l < layers.size(); ++l) {
    const double score =
        layers[l]["top_keys"].empty() ? best_score : number_of(layers[l]["top_keys"][0]["score"]);
    if (score > best_score) {
      best_score = score;
      best = l;
    }
    for (const auto& head : layers[l]["heads"]) {
      sink += number_of(head["sink_rate"]);
      ++heads;
    }
    for (const auto& key : layers[l]["outlier_keys"]) {
      ++classes[key["class"]];
      ++keys;
    }
  }
  if (best_score < 0 || heads == 0) return {};
  std::string text =
      fmt::format("layer {}: one key ({}) receives {} of {}'s probability; sink rate {} over all heads", best,
                  quoted(layers[best]["top_keys"][0]["token_text"]), percent(best_score / tokens),
                  "its sequence", percent(sink / static_cast<double>(heads)));
  if (keys > 0) {
    text += "; outlier keys are";
    std::vector<std::pair<int64_t, std::string>> order;
    for (const auto& [name, n] : classes) order.emplace_back(n, name);
    std::sort(order.rbegin(), order.rend());
    for (size_t i = 0; i < order.size(); ++i) {
      text += fmt::format("{} {} {}", i == 0 ? "" : ",", class_words(order[i].second),
                          percent(static_cast<double>(order[i].first) / static_cast<double>(keys)));
    }
  }
  return line("attention", text);
}

Lines alignment(const ordered_json& r) {
  const ordered_json& a = r["summary"]["alignment"];
  std::string text;
  if (!a["weight_activation"].is_null()) {
    text = fmt::format("the top weight column is the top down_in channel in {} of layers",
                       percent(a["weight_activation"]));
  }
  if (!a["activation_attention"].is_null()) {
    text += fmt::format("{}{} of outlier keys are outlier tokens", text.empty() ? "" : "; ",
                        percent(a["activation_attention"]));
  }
  return text.empty() ? Lines{} : line("alignment", text);
}

Lines headroom(const ordered_json& r) {
  std::string text;
  for (const auto& [point, h] : r["summary"]["headroom"].items()) {
    if (h.is_null()) continue;
    const double fp16 = number_of(h["of_fp16_max"]), fp8 = number_of(h["of_fp8_e4m3_max"]);
    text += fmt::format("{}{} reaches {} in layer {}: {} of float16's range{}, {} times e4m3's 448",
                        text.empty() ? "" : "; ", point, shown(h["max"]), h["layer"].get<int64_t>(),
                        percent(fp16), fp16 > 1 ? " (it overflows)" : "", number(fp8));
    if (!h["int8_step_over_median"].is_null())
      text += fmt::format(", one int8 step is {} medians", shown(h["int8_step_over_median"]));
  }
  return text.empty() ? Lines{} : line("head-room", text);
}

Lines norms(const ordered_json& r) {
  if (!r["summary"].contains("norms")) return {};
  const ordered_json &n = r["summary"]["norms"],
                     &largest = r["norms"]["corpus"][index(n["layer"])]["patches"]["largest"];
  std::string text = fmt::format("after the last layer patches have {} (median), at most {} ({} of image {})",
                                 shown(n["patch_median"]), shown(n["patch_max"]),
                                 printable(largest["token_text"], 24), largest["sequence"].get<int64_t>());
  text += fmt::format(", CLS {}", shown(n["cls_median"]));
  if (!n["register_median"].is_null()) text += fmt::format(", registers {}", shown(n["register_median"]));
  const int64_t high = n["high_patches"];
  text += high == 0
              ? "; no patch is above 150"
              : fmt::format("; {} of patches ({}) are above 150", percent(n["high_share"]), count(high));
  return line("norms", text);
}

Lines cost(const ordered_json& r) {
  const ordered_json& s = r["run"]["seconds"];
  std::string text =
      fmt::format("load {}, forward {}, statistics {}; peak memory {}", seconds(s["load"]),
                  seconds(s["forward"]), seconds(s["statistics"]), bytes(r["run"]["peak_host_bytes"]));
  if (r["run"]["peak_device_bytes"] != 0)
    text += fmt::format(", {} on the device", bytes(r["run"]["peak_device_bytes"]));
  return line("cost", text);
}

Lines nonfinite(const ordered_json& r) {
  int64_t n = 0;
  for (const char* batch : {"prompt", "corpus"}) {
    for (const auto& [point, layers] : r["activations"][batch].items()) {
      for (const auto& layer : layers) n += layer["nonfinite"].get<int64_t>();
    }
  }
  return n == 0
             ? Lines{}
             : line("warning",
                    fmt::format("{} activations are NaN or infinite; they are left out of every number above",
                                count(n)));
}

}  // namespace

Lines summary_lines(const ordered_json& r) {
  return line("measured", measured(r)) + life(r) + places(r) + weights(r) + attention(r) + alignment(r) +
         headroom(r) + norms(r) + nonfinite(r) + cost(r);
}

std::string summary_text(const ordered_json& r) {
  std::string text = heading(r);
  for (const SummaryLine& l : summary_lines(r)) {
    text += fmt::format("{:<{}}{}\n", l.label, kIndent, fold(l.text, kWidth, kIndent));
    if (l.label == "measured") text += "\n";
  }
  return text;
}

}  // namespace outliers::report
