#include "outliers/studies/features.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

namespace outliers::studies {
namespace {

using results::Input;
using results::LayerInput;

constexpr size_t kListedSinks = 20;

std::span<const results::Layer> told(const results::Results& r) {
  return std::span(r.layers).first(static_cast<size_t>(r.told_layers()));
}

const LayerInput& part(const results::Layer& layer, const Input& input) {
  return *layer.inputs.find(input.name);
}

const Input* subject(const results::Results& r) {
  return r.corpus() != nullptr ? r.corpus() : r.prompt();
}

template <typename List, typename Number>
double mean_of(const List& list, const Number& number) {
  double sum = 0;
  for (const auto& x : list) sum += number(x);
  return sum / static_cast<double>(list.size());
}

std::optional<results::Axes> axes(const results::Results& r) {
  const Input* input = subject(r);
  if (input == nullptr) return std::nullopt;
  results::Axes axes{input->name, {}};
  bool any = false;
  for (const results::Layer& layer : told(r)) {
    const LayerInput& of = part(layer, *input);
    results::LayerAxes& here = axes.layers.emplace_back();
    here.layer = layer.layer;
    if (of.resid_out && of.resid_out->median > 0) here.spike = of.resid_out->extent().ratio();
    if (of.attention && !of.attention->heads.empty())
      here.sink = mean_of(of.attention->heads, [](const auto& head) { return head.sink_rate; });
    const std::vector<double>* drain = of.values.find("drain_first_token");
    if (drain != nullptr && !drain->empty()) here.drain = mean_of(*drain, [](double x) { return x; });
    any = any || here.spike || here.sink || here.drain;
  }
  return any ? std::optional(axes) : std::nullopt;
}

std::optional<results::SecondarySinks> secondary_sinks(const results::Results& r) {
  results::SecondarySinks sinks;
  bool measured = false;
  for (const Input& input : r.inputs) {
    // By sequence and key; a sequence's first key is its primary sink.
    std::map<std::pair<int64_t, int64_t>, results::SecondarySink> keys;
    for (const results::Layer& layer : told(r)) {
      const std::optional<results::Attention>& attention = part(layer, input).attention;
      if (!attention) continue;
      measured = true;
      for (const results::Key& key : attention->outlier_keys) {
        const auto [known, is_new] = keys.try_emplace({key.sequence, key.key});
        results::SecondarySink& sink = known->second;
        if (is_new)
          sink = {input.name, key.sequence, key.key, key.token_text, key.token_class, layer.layer, 0, 0};
        sink.last_layer = layer.layer;
        sink.score = std::max(sink.score, key.score / static_cast<double>(input.tokens_per_sequence));
      }
    }
    for (const auto& [place, sink] : keys) {
      const auto first = keys.find({place.first, 0});
      if (place.second == 0 || first == keys.end() || sink.first_layer <= first->second.first_layer) continue;
      ++sinks.count;
      sinks.largest.push_back(sink);
    }
  }
  if (!measured) return std::nullopt;
  std::stable_sort(sinks.largest.begin(), sinks.largest.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (sinks.largest.size() > kListedSinks) sinks.largest.resize(kListedSinks);
  return sinks;
}

/// The q-quantile of x, between two values by their distance (NumPy's and PyTorch's "linear").
double quantile(std::vector<double> x, double q) {
  std::sort(x.begin(), x.end());
  const double place = q * static_cast<double>(x.size() - 1);
  const auto below = static_cast<size_t>(place);
  const double above = x[std::min(below + 1, x.size() - 1)];
  return x[below] + (above - x[below]) * (place - std::floor(place));
}

std::optional<std::vector<results::SuperExpert>> super_experts(const results::Results& r) {
  const Input* input = subject(r);
  if (input == nullptr) return std::nullopt;
  std::vector<double> maxima, extents;
  for (const results::Layer& layer : told(r)) {
    const LayerInput& of = part(layer, *input);
    if (of.resid_out) extents.push_back(of.resid_out->max);
    for (const results::ExpertInput& expert : of.experts)
      if (!expert.expert.is_shared()) maxima.push_back(expert.down_out_max);
  }
  if (maxima.empty() || extents.empty()) return std::nullopt;
  const Criteria& c = r.criteria;
  const double above = std::max(quantile(maxima, c.super_expert_quantile),
                                c.super_expert_share * *std::max_element(maxima.begin(), maxima.end())),
               step = c.step_share * *std::max_element(extents.begin(), extents.end());
  std::vector<results::SuperExpert> found;
  for (const results::Layer& layer : told(r)) {
    const auto l = static_cast<size_t>(layer.layer);
    if (extents[l] - (l > 0 ? extents[l - 1] : 0) < step) continue;
    for (const results::ExpertInput& expert : part(layer, *input).experts) {
      if (!expert.expert.is_shared() && expert.down_out_max > above)
        found.push_back({layer.layer, expert.expert, expert.down_out_max, input->name});
    }
  }
  return found;
}

std::optional<results::InactiveHeads> inactive_heads(const results::Results& r) {
  const Input* input = subject(r);
  if (input == nullptr) return std::nullopt;
  results::InactiveHeads heads{input->name, 0, 0, 0, {}};
  for (const results::Layer& layer : told(r)) {
    const results::Values& values = part(layer, *input).values;
    const std::vector<double>*share = values.find("output_share"), *mass = values.find("first_key_mass");
    if (share == nullptr || mass == nullptr) continue;
    for (size_t h = 0; h < share->size(); ++h) {
      ++heads.heads;
      const bool dead =
          (*share)[h]<r.criteria.dead_head_share, dormant = (*mass)[h]> r.criteria.dormant_head_mass;
      if (!dead && !dormant) continue;
      ++(dead ? heads.dead : heads.dormant);
      heads.list.push_back({layer.layer, static_cast<int64_t>(h), dead, (*share)[h], (*mass)[h]});
    }
  }
  return heads.heads > 0 ? std::optional(heads) : std::nullopt;
}

}  // namespace

void add_features(results::Results& results) {
  results::Summary& summary = results.summary;
  summary.axes = axes(results);
  summary.secondary_sinks = secondary_sinks(results);
  summary.super_experts = super_experts(results);
  summary.inactive_heads = inactive_heads(results);
}

}  // namespace outliers::studies
