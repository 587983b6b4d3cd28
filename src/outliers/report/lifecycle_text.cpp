#include "outliers/report/lifecycle_text.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "outliers/report/format.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using Lines = std::vector<SummaryLine>;

/// Parts that are named: those of at least this share of the value.
constexpr double kNamed = 0.05;

std::string layers(int64_t first, int64_t last) {
  return first == last ? fmt::format("layer {}", first) : fmt::format("layers {}-{}", first, last);
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  int64_t finite = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++finite;
  }
  return finite == 0 ? results::kNone : sum / static_cast<double>(finite);
}

std::string neuron_name(const results::Neuron& neuron) {
  return fmt::format("{}neuron {}", of_expert(neuron.expert), neuron.neuron);
}

/// "neuron 1229 73 %, neuron 1487 27 %" of `whole`, the largest first, of all layers.
std::string shares(const std::vector<results::LayerContributions>& parts, double whole) {
  struct Part {
    double value;
    std::string name;
  };
  std::vector<Part> list;
  for (const results::LayerContributions& layer : parts) {
    const std::string at = parts.size() == 1 ? "" : fmt::format(" of layer {}", layer.layer);
    for (const results::Neuron& neuron : layer.neurons)
      list.push_back({neuron.product, neuron_name(neuron) + at});
    for (size_t h = 0; h < layer.heads.size(); ++h)
      list.push_back({layer.heads[h], fmt::format("head {}{}", h, at)});
    list.push_back({layer.other_neurons, "its other neurons" + at});
    list.push_back({layer.mlp_bias, "the MLP's bias" + at});
    list.push_back({layer.attention_bias, "the attention's bias" + at});
    list.push_back({layer.norm, "the norm" + at});
  }
  std::stable_sort(list.begin(), list.end(),
                   [](const Part& a, const Part& b) { return std::abs(a.value) > std::abs(b.value); });
  std::string text;
  for (const Part& part : list) {
    if (std::abs(part.value) < kNamed * std::abs(whole)) break;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", part.name, percent(part.value / whole));
  }
  return text;
}

Lines episodes(const results::Results& r, const results::PromptLife& life) {
  if (life.episodes.size() < 2) return {};
  std::string text;
  for (const results::Episode& e : life.episodes) {
    const int64_t last = e.removed_layer.value_or(r.told_layers()) - 1;
    text +=
        fmt::format("{}{}: channel {} of {}, up to {}", text.empty() ? "" : "; ", layers(e.born_layer, last),
                    e.channel, token_name(e.token_text, e.token_class, e.token), number(std::abs(e.peak)));
  }
  return {{"episodes", text}};
}

Lines written(const results::PromptLife& life) {
  if (!life.emergence) return {};
  const results::Contributions& e = *life.emergence;
  const results::LayerContributions& born = e.layers.back();
  const double before = e.layers.size() == 1 ? e.embedding : e.layers[e.layers.size() - 2].resid_out;
  std::string text =
      fmt::format("{} after layer {}, of which {} came in", number(e.residual), e.layer, number(before));
  if (const std::string by = shares({born}, e.residual); !by.empty()) text += "; written by " + by;
  if (!life.neurons.empty()) {
    const results::DrivenNeuron& n = life.neurons.front();
    text += fmt::format("; {}: ", neuron_name(n));
    text += n.gate_out ? fmt::format("act(gate {}) x up {}", number(*n.gate_out), number(n.up_out))
                       : fmt::format("act({})", number(n.up_out));
    text += fmt::format(" = {}, x weight {}", number(n.down_in), number(n.weight));
  }
  return {{"written", text}};
}

Lines spread(const results::Results& r, const results::PromptLife& life) {
  const std::optional<int64_t> layer = life.choice("spread");
  const auto found = std::find_if(life.spread.begin(), life.spread.end(),
                                  [&](const auto& one) { return one.layer == layer; });
  if (found == life.spread.end()) return {};
  const results::LayerSpread& s = *found;
  std::string text = fmt::format(
      "layer {}: heads give outlier tokens {}; queries' cosine with their keys {}, with others' {}; their "
      "values "
      "have {} of the others' norm and bring {} of what is mixed",
      s.layer, percent(mean(s.probability)), number(mean(s.cosine_outlier)), number(mean(s.cosine_other)),
      percent(mean(s.value_ratio)), percent(mean(s.output_share)));
  for (const results::Constancy& one : r.lifecycle->constancy) {
    if (one.layer == s.layer)
      text += fmt::format("; after the norm {} of them have a cosine of {:.4f} with each other", one.tokens,
                          one.cosine);
  }
  return {{"spread", text}};
}

Lines taken(const results::PromptLife& life) {
  if (!life.disappearance) return {};
  const results::Disappearance& d = *life.disappearance;
  std::string text = fmt::format("{} of {} in {}", percent(d.cancelled), number(d.before),
                                 layers(d.first_layer, d.last_layer));
  if (const std::string by = shares(d.layers, -d.before); !by.empty()) text += ": " + by;
  return {{"taken", text}};
}

const results::PromptLife* first_life(const results::Results& r) {
  const results::Input* prompt = r.prompt();
  return prompt == nullptr ? nullptr : prompt_life(r, *prompt);
}

}  // namespace

const results::PromptLife* prompt_life(const results::Results& r, const results::Input& prompt) {
  if (!r.lifecycle) return nullptr;
  for (const results::PromptLife& life : r.lifecycle->prompts)
    if (life.input == prompt.name) return &life;
  return nullptr;
}

Lines episode_lines(const results::Results& r) {
  const results::PromptLife* life = first_life(r);
  return life == nullptr ? Lines() : episodes(r, *life);
}

Lines lifecycle_lines(const results::Results& r) {
  const results::PromptLife* life = first_life(r);
  if (life == nullptr) return {};
  Lines lines;
  for (const Lines& part : {written(*life), spread(r, *life), taken(*life)})
    lines.insert(lines.end(), part.begin(), part.end());
  return lines;
}

}  // namespace outliers::report
