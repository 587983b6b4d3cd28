#include "outliers/studies/summary.h"

#include <algorithm>
#include <map>
#include <span>

#include "outliers/studies/features.h"

namespace outliers::studies {
namespace {

using results::Extent;
using results::Input;

/// The layers that the summary tells of.
std::span<const results::Layer> told(const results::Results& results) {
  return std::span(results.layers).first(static_cast<size_t>(results.told_layers()));
}

const results::LayerInput& part(const results::Layer& layer, const Input& input) {
  return *layer.inputs.find(input.name);
}

/// Channels that are massive in any layer, those of most layers first.
std::vector<int64_t> massive_channels(std::span<const results::Layer> layers, const Input& prompt) {
  std::map<int64_t, int64_t> layers_of;
  for (const results::Layer& layer : layers) {
    std::map<int64_t, int64_t> here;
    for (const results::Place& place : part(layer, prompt).resid_out->massive) here[place.channel] = 1;
    for (const auto& [channel, one] : here) layers_of[channel] += one;
  }
  std::vector<std::pair<int64_t, int64_t>> order(layers_of.begin(), layers_of.end());
  std::stable_sort(order.begin(), order.end(), [](auto a, auto b) { return a.second > b.second; });
  std::vector<int64_t> channels;
  for (const auto& [channel, count] : order) channels.push_back(channel);
  return channels;
}

std::vector<results::MassiveToken> massive_tokens(std::span<const results::Layer> layers,
                                                  const Input& prompt) {
  std::map<int64_t, results::MassiveToken> tokens;
  for (const results::Layer& layer : layers) {
    for (const results::Place& place : part(layer, prompt).resid_out->massive) {
      const auto t = static_cast<size_t>(place.token);
      const auto [known, is_new] = tokens.try_emplace(place.token);
      if (is_new)
        known->second = {place.token, prompt.tokens[t], prompt.classes[t], layer.layer, layer.layer};
      known->second.last_layer = layer.layer;
    }
  }
  std::vector<results::MassiveToken> list;
  for (const auto& [token, massive] : tokens) list.push_back(massive);
  return list;
}

results::Life life_of(const results::Results& results, const Input& prompt) {
  const std::span<const results::Layer> layers = told(results);
  std::vector<Extent> extents;
  for (const results::Layer& layer : layers) extents.push_back(part(layer, prompt).resid_out->extent());
  const LifeSpan span = life_span(*prompt.embedding, extents, results.criteria);
  return {prompt.name,
          span.peak.has_value(),
          span.born,
          span.peak,
          span.removed,
          massive_channels(layers, prompt),
          massive_tokens(layers, prompt)};
}

/// The heads' sink rates, mean over heads, layers and corpora.
std::optional<double> sink_rate(const results::Results& results) {
  double sum = 0;
  int64_t heads = 0;
  for (const results::Layer& layer : told(results)) {
    for (const Input& input : results.inputs) {
      const std::optional<results::Attention>& attention = part(layer, input).attention;
      if (input.is_prompt() || !attention) continue;
      for (const results::Head& head : attention->heads) sum += head.sink_rate;
      heads += static_cast<int64_t>(attention->heads.size());
    }
  }
  if (heads == 0) return std::nullopt;
  return sum / static_cast<double>(heads);
}

/// Of the layer with the largest abs x, over all inputs; the first of equal ones.
std::optional<results::Headroom> headroom(const results::Results& results, const char* point) {
  const Criteria& c = results.criteria;
  std::optional<results::Headroom> found;
  double median = 0;
  int64_t nonfinite = 0;
  for (const Input& input : results.inputs) {
    for (const results::Layer& layer : results.layers) {
      const results::Activations& of = *part(layer, input).activations(point);
      nonfinite += of.nonfinite;
      if (layer.layer >= results.told_layers() || (found && !(of.max > found->max))) continue;
      results::Headroom& largest = found.emplace();
      largest.layer = layer.layer;
      largest.input = input.name;
      largest.max = of.max;
      median = of.median;
    }
  }
  if (!found) return found;
  found->of_fp16_max = found->max / c.fp16_max;
  found->of_fp8_e4m3_max = found->max / c.fp8_e4m3_max;
  if (median > 0) {
    found->max_over_median = found->max / median;
    found->int8_step_over_median = found->max / median / c.int8_steps;
  }
  found->nonfinite = nonfinite;
  return found;
}

std::optional<results::NormSummary> norms(const results::Results& results) {
  const Input* corpus = results.corpus();
  if (results.summary.first_nonfinite || corpus == nullptr || results.layers.empty()) return std::nullopt;
  const results::Layer& last = results.layers.back();
  const std::optional<results::Norms>& of = part(last, *corpus).norms;
  if (!of) return std::nullopt;
  const results::PatchNorms& patches = of->patches;
  return results::NormSummary{last.layer,
                              of->cls.median,
                              of->registers ? of->registers->median : results::kNone,
                              patches.median,
                              patches.max,
                              patches.high,
                              static_cast<double>(patches.high) / static_cast<double>(patches.count)};
}

}  // namespace

LifeSpan life_span(const Extent& embedding, const std::vector<Extent>& layers, const Criteria& criteria) {
  const auto taller = [](const Extent& a, const Extent& b) { return a.ratio() < b.ratio(); };
  if (layers.empty() ||
      std::max_element(layers.begin(), layers.end(), taller)->ratio() < criteria.found_ratio)
    return {};
  const auto peak = std::max_element(layers.begin(), layers.end(),
                                     [](const Extent& a, const Extent& b) { return a.max < b.max; });
  LifeSpan span;
  span.peak = peak - layers.begin();

  double before = embedding.ratio(), step = 0;
  for (auto layer = layers.begin(); layer <= peak; ++layer) {
    const double ratio = layer->ratio();
    // Below 1 there is nothing to multiply: an all-zero or constant input.
    const double multiple = ratio / std::max(before, 1.0);
    if (!span.born || multiple > step) {
      step = multiple;
      span.born = layer - layers.begin();
    }
    before = ratio;
  }

  auto removed = layers.end();
  while (removed - 1 != peak && (removed - 1)->max < criteria.removed_share * peak->max) --removed;
  if (removed != layers.end()) span.removed = removed - layers.begin();
  return span;
}

void summarise(results::Results& results) {
  results::Summary& summary = results.summary;
  const bool activations =
      !results.layers.empty() && !results.inputs.empty() &&
      part(results.layers.front(), results.inputs.front()).activations("resid_out") != nullptr;
  if (activations) {
    for (const Input& input : results.inputs) {
      if (input.is_prompt()) summary.lives.push_back(life_of(results, input));
    }
    for (const char* point : results::kPoints) summary.headroom[point] = headroom(results, point);
  }
  summary.sink_rate = sink_rate(results);
  summary.norms = norms(results);
  add_features(results);
}

}  // namespace outliers::studies
