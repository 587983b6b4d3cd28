#include "outliers/studies/first_overflow.h"

#include <algorithm>
#include <cmath>

#include "outliers/core/formats.h"

namespace outliers::studies {
namespace {

/// An amax and where it was found.
struct Seen {
  std::optional<int64_t> layer;
  std::string point;
  size_t input;
  results::Amax amax;
};

/// All of them in the order of layers, points and inputs.
std::vector<Seen> all_seen(const results::Results& r) {
  std::vector<Seen> list;
  const auto add = [&](std::optional<int64_t> layer, const auto& amax_of) {
    for (const run::PointInfo& info : run::point_table()) {
      for (size_t i = 0; i < r.inputs.size(); ++i) {
        const results::Named<results::Amax>& of_points = amax_of(r.inputs[i]);
        if (const results::Amax* amax = of_points.find(info.name))
          list.push_back({layer, info.name, i, *amax});
      }
    }
  };
  for (const results::Layer& layer : r.layers) {
    if (layer.layer >= r.told_layers()) return list;
    add(layer.layer, [&](const results::Input& input) -> const results::Named<results::Amax>& {
      return layer.inputs.find(input.name)->amax;
    });
  }
  add({}, [](const results::Input& input) -> const results::Named<results::Amax>& { return input.amax; });
  return list;
}

}  // namespace

results::Named<std::optional<results::Overflow>> first_overflows(const results::Results& results,
                                                                 const std::vector<measures::Input>& inputs,
                                                                 const measures::TokenNames& names) {
  results::Named<std::optional<results::Overflow>> list;
  const bool measured = std::any_of(results.layers.begin(), results.layers.end(), [](const auto& layer) {
    return std::any_of(layer.inputs.begin(), layer.inputs.end(),
                       [](const auto& part) { return !part.second.amax.empty(); });
  });
  const std::vector<Seen> all = all_seen(results);
  for (const NumberFormat& format : kNumberFormats) {
    if (!format.has_range || !measured) continue;
    std::optional<results::Overflow>& first = list[format.name];
    const auto seen = std::find_if(
        all.begin(), all.end(), [&](const Seen& one) { return std::abs(one.amax.value) > format.largest; });
    if (seen == all.end()) continue;
    first.emplace();
    first->layer = seen->layer;
    first->point = seen->point;
    first->value = seen->amax.value;
    first->largest = format.largest;
    first->input = inputs[seen->input].name;
    first->sequence = seen->amax.sequence;
    first->token = seen->amax.token;
    first->head = seen->amax.head;
    first->channel = seen->amax.channel;
    first->expert = seen->amax.expert;
    if (!first->token) continue;
    const measures::TokenNames::Name name =
        names.name(inputs[seen->input].ids, first->sequence, *first->token);
    first->token_text = name.text;
    first->token_class = name.kind;
  }
  return list;
}

}  // namespace outliers::studies
