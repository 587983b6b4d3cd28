#include "outliers/report/summary_text.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/format.h"
#include "outliers/report/life_text.h"
#include "outliers/report/results.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

using Lines = std::vector<SummaryLine>;

Lines line(const char* label, const std::string& text) {
  return {{label, text}};
}

Lines operator+(Lines a, const Lines& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

size_t index(const ordered_json& value) {
  return value.get<size_t>();
}

/// " in layers 0-3", where the summary tells of these alone.
std::string of_told(const ordered_json& r) {
  return first_nonfinite(r).is_null() ? "" : " in " + layers_words(r);
}

std::string heading(const ordered_json& r) {
  const ordered_json& m = r["model"];
  std::string experts;
  if (m.contains("experts")) {
    experts = fmt::format(" of {} experts", m["experts"]["count"].get<int64_t>());
  }
  return fmt::format("{} ({}, {}, {} layers{}, D {}, {} parameters, {})", m["name"].get<std::string>(),
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

Lines places(const ordered_json& r) {
  const ordered_json& s = r["summary"];
  if (told_layers(r) == 0) return line("massive", "cannot be told");
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
  if (channels.empty())
    return line("massive", "no activation is above 100 and above 1,000 medians" + of_told(r));
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
  std::string left_out;
  int64_t matrices = 0;
  for (const auto& layer : r["weights"]) {
    for (const auto& [name, m] : layer["modules"].items()) {
      if (m.contains("nonfinite") && m["nonfinite"] != 0 && ++matrices <= 3) {
        left_out += fmt::format("{}{} at layer {} {}", left_out.empty() ? "" : ", ", count(m["nonfinite"]),
                                layer["layer"].get<int64_t>(), of_expert(m) + name);
      }
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
  if (matrices > 3) left_out += fmt::format(" and in {} more matrices", matrices - 3);
  if (matrices > 0) left_out = "; left out, as NaN or infinite: " + left_out;
  return line("weights", fmt::format("max/mean of abs W {}; median of all projections {}{}", text,
                                     number(median), left_out));
}

Lines attention(const ordered_json& r) {
  const ordered_json& layers = r["attention"]["corpus"];
  const size_t told = std::min(told_layers(r), layers.size());
  if (told == 0) return line("attention", "cannot be told");
  const double tokens = r["run"]["tokens_per_sequence"];
  size_t best = 0;
  double best_score = -1, sink = 0;
  int64_t heads = 0, keys = 0;
  std::map<std::string, int64_t> classes;
  for (size_t l = 0; l < told; ++l) {
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
  std::string text = fmt::format(
      "layer {}: one key ({}) receives {} of its sequence's probability; sink rate {} over all heads{}", best,
      quoted(layers[best]["top_keys"][0]["token_text"]), percent(best_score / tokens),
      percent(sink / static_cast<double>(heads)), of_told(r));
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
  if (told_layers(r) == 0) text = "cannot be told";
  return text.empty() ? Lines{} : line("alignment", text + (told_layers(r) > 0 ? of_told(r) : ""));
}

Lines headroom(const ordered_json& r) {
  const ordered_json& first = first_nonfinite(r);
  std::string text;
  for (const auto& [point, h] : r["summary"]["headroom"].items()) {
    if (h.is_null() && first.is_null()) continue;
    text += text.empty() ? "" : "; ";
    if (h.is_null()) {
      text += point + " cannot be told";
      continue;
    }
    const double fp16 = number_of(h["of_fp16_max"]), fp8 = number_of(h["of_fp8_e4m3_max"]);
    const int64_t nonfinite = h.value("nonfinite", int64_t{0});
    std::string reaches = point + " reaches";
    if (!first.is_null()) {
      const int64_t layer = first["layer"];
      reaches = nonfinite == 0
                    ? fmt::format("before layer {} {}", layer, reaches)
                    : fmt::format("{} is not finite from layer {} on ({} values); before it reaches", point,
                                  layer, count(nonfinite));
    }
    const std::string batch =
        h.contains("batch") ? fmt::format(" ({})", batch_words(r, h["batch"])) : std::string();
    text += fmt::format("{} {} in layer {}{}: {} of float16's range{}, {} times e4m3's 448", reaches,
                        shown(h["max"]), h["layer"].get<int64_t>(), batch, percent(fp16),
                        fp16 > 1 ? " (it overflows)" : "", number(fp8));
    if (!h["int8_step_over_median"].is_null())
      text += fmt::format(", one int8 step is {} medians", shown(h["int8_step_over_median"]));
  }
  return text.empty() ? Lines{} : line("head-room", text);
}

Lines norms(const ordered_json& r) {
  if (r.contains("norms") && !r["summary"].contains("norms")) return line("norms", "cannot be told");
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
  return line("measured", measured(r)) + life_lines(r) + line("", "") + places(r) + weights(r) +
         attention(r) + alignment(r) + headroom(r) + norms(r) + nonfinite(r) + cost(r);
}

std::string summary_text(const ordered_json& r, size_t width) {
  std::string text = fold(heading(r), width, 0) + "\n";
  for (const SummaryLine& l : summary_lines(r)) {
    if (l.label.empty()) {
      for (const std::string& row : life_strip(r, width - kLabelColumns))
        text += std::string(kLabelColumns, ' ') + row + "\n";
      continue;
    }
    text += labelled(l.label, l.text, width);
    if (l.label == "measured") text += "\n";
  }
  return text;
}

}  // namespace outliers::report
