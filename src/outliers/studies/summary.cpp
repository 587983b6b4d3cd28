#include "outliers/studies/summary.h"

#include <algorithm>
#include <map>
#include <span>

#include "outliers/studies/norms.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;

constexpr double kFloat16Max = 65504, kE4m3Max = 448, kInt8Steps = 127;

ordered_json or_null(std::optional<int64_t> value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

Extent extent_of(const ordered_json& layer) {
  return {layer["max"], layer["median"]};
}

/// One object a layer.
using Layers = std::span<const ordered_json>;

/// The first `told` of the layers.
Layers first_layers(const ordered_json& layers, size_t told) {
  const auto& all = layers.get_ref<const ordered_json::array_t&>();
  return Layers(all).first(std::min(told, all.size()));
}

/// Channels that are massive in any layer, those of most layers first.
ordered_json massive_channels(Layers layers) {
  std::map<int64_t, int64_t> layers_of;
  for (const auto& layer : layers) {
    std::map<int64_t, int64_t> here;
    for (const auto& value : layer["massive"]) here[value["channel"]] = 1;
    for (const auto& [channel, one] : here) layers_of[channel] += one;
  }
  std::vector<std::pair<int64_t, int64_t>> order(layers_of.begin(), layers_of.end());
  std::stable_sort(order.begin(), order.end(), [](auto a, auto b) { return a.second > b.second; });
  ordered_json result = ordered_json::array();
  for (const auto& [channel, count] : order) result.push_back(channel);
  return result;
}

ordered_json massive_tokens(Layers layers, const ordered_json& prompt) {
  struct Span {
    int64_t first, last;
  };
  std::map<int64_t, Span> spans;
  for (const auto& layer : layers) {
    const int64_t l = layer["layer"];
    for (const auto& value : layer["massive"]) {
      const auto [place, is_new] = spans.try_emplace(value["token"], Span{l, l});
      place->second.last = l;
    }
  }
  ordered_json result = ordered_json::array();
  for (const auto& [token, span] : spans) {
    const auto t = static_cast<size_t>(token);
    result.push_back({{"token", token},
                      {"text", prompt["tokens"][t]},
                      {"class", prompt["classes"][t]},
                      {"first_layer", span.first},
                      {"last_layer", span.last}});
  }
  return result;
}

/// Share of layers whose top down column is the top channel of down_in over the corpus.
ordered_json weight_activation(const ordered_json& results, size_t told) {
  int64_t same = 0, layers = 0;
  for (const auto& layer : first_layers(results["activations"]["corpus"]["down_in"], told)) {
    const ordered_json& modules = results["weights"][static_cast<size_t>(layers++)]["modules"];
    const ordered_json& columns = modules["down"]["top_columns"];
    if (columns.empty() || layer["top_channels"].empty()) continue;
    const ordered_json& channel = layer["top_channels"][0];
    const bool same_expert =
        modules["down"].value("expert", ordered_json()) == channel.value("expert", ordered_json());
    if (columns[0]["column"] == channel["channel"] && same_expert) ++same;
  }
  return layers > 0 ? ordered_json(static_cast<double>(same) / static_cast<double>(layers)) : nullptr;
}

/// The heads' sink rates, mean over heads and layers.
ordered_json sink_rate(Layers layers) {
  double sum = 0;
  int64_t heads = 0;
  for (const auto& layer : layers) {
    for (const auto& head : layer["heads"]) {
      sum += head["sink_rate"].get<double>();
      ++heads;
    }
  }
  return heads > 0 ? ordered_json(sum / static_cast<double>(heads)) : nullptr;
}

ordered_json headroom(const ordered_json& activations, const char* point, size_t told) {
  const ordered_json* largest = nullptr;
  const char* where = nullptr;
  int64_t nonfinite = 0;
  for (const char* batch : {"prompt", "corpus"}) {
    for (const auto& layer : activations[batch][point]) nonfinite += layer.value("nonfinite", int64_t{0});
    for (const auto& layer : first_layers(activations[batch][point], told)) {
      if (largest != nullptr && !(layer["max"] > (*largest)["max"])) continue;
      largest = &layer;
      where = batch;
    }
  }
  if (largest == nullptr) return nullptr;
  const Extent extent = extent_of(*largest);
  const bool any = extent.median > 0;
  return {{"layer", (*largest)["layer"]},
          {"batch", where},
          {"max", extent.max},
          {"max_over_median", any ? ordered_json(extent.ratio()) : nullptr},
          {"of_fp16_max", extent.max / kFloat16Max},
          {"of_fp8_e4m3_max", extent.max / kE4m3Max},
          {"int8_step_over_median", any ? ordered_json(extent.ratio() / kInt8Steps) : nullptr},
          {"nonfinite", nonfinite}};
}

}  // namespace

LifeSpan life_span(const Extent& embedding, const std::vector<Extent>& layers) {
  const auto taller = [](const Extent& a, const Extent& b) { return a.ratio() < b.ratio(); };
  if (layers.empty() || std::max_element(layers.begin(), layers.end(), taller)->ratio() < kFoundRatio)
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
  while (removed - 1 != peak && (removed - 1)->max < peak->max / 2) --removed;
  if (removed != layers.end()) span.removed = removed - layers.begin();
  return span;
}

ordered_json summarise(const ordered_json& results, std::optional<double> activation_attention,
                       const ordered_json& first_nonfinite) {
  const ordered_json& all = results["activations"]["prompt"]["resid_out"];
  const size_t told = first_nonfinite.is_null() ? all.size() : first_nonfinite["layer"].get<size_t>();
  const Layers layers = first_layers(all, told);
  std::vector<Extent> extents;
  for (const auto& layer : layers) extents.push_back(extent_of(layer));
  const LifeSpan life = life_span(extent_of(results["prompt"]["embedding"]), extents);

  ordered_json summary;
  summary["first_nonfinite"] = first_nonfinite;
  summary["found"] = life.peak.has_value();
  summary["born_layer"] = or_null(life.born);
  summary["peak_layer"] = or_null(life.peak);
  summary["removed_layer"] = or_null(life.removed);
  summary["massive_channels"] = massive_channels(layers);
  summary["massive_tokens"] = massive_tokens(layers, results["prompt"]);
  summary["alignment"] = {
      {"weight_activation", weight_activation(results, told)},
      {"activation_attention", activation_attention ? ordered_json(*activation_attention) : nullptr}};
  if (results.contains("attention"))
    summary["sink_rate"] = sink_rate(first_layers(results["attention"]["corpus"], told));
  summary["headroom"] = {{"resid_out", headroom(results["activations"], "resid_out", told)},
                         {"down_in", headroom(results["activations"], "down_in", told)}};
  if (results.contains("norms") && first_nonfinite.is_null())
    summary["norms"] = summarise_norms(results["norms"]["corpus"]);
  return summary;
}

}  // namespace outliers::studies
