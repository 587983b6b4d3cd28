#include "outliers/report/measured.h"

#include <algorithm>

namespace outliers::report {
namespace {

/// Of each layer what `of` finds in it, which all layers have or none.
template <typename T, typename F>
Layers<T> by_layer(const results::Results& r, const F& of) {
  Layers<T> layers;
  for (const results::Layer& layer : r.layers) {
    if (const T* part = of(layer)) layers.push_back(part);
  }
  return layers;
}

template <typename T>
Layers<T> of_input(const results::Results& r, const results::Input& input,
                   std::optional<T> results::LayerInput::*part) {
  return by_layer<T>(r, [&](const results::Layer& layer) {
    const std::optional<T>& found = layer.inputs.find(input.name)->*part;
    return found ? &*found : nullptr;
  });
}

}  // namespace

Layers<results::Activations> activation_layers(const results::Results& r, const results::Input& input,
                                               std::string_view point) {
  return by_layer<results::Activations>(
      r, [&](const results::Layer& layer) { return layer.inputs.find(input.name)->activations(point); });
}

Layers<results::Attention> attention_layers(const results::Results& r, const results::Input& input) {
  return of_input(r, input, &results::LayerInput::attention);
}

Layers<results::Writes> write_layers(const results::Results& r, const results::Input& input) {
  return of_input(r, input, &results::LayerInput::writes);
}

Layers<results::Norms> norm_layers(const results::Results& r, const results::Input& input) {
  return of_input(r, input, &results::LayerInput::norms);
}

Layers<results::Weights> weight_layers(const results::Results& r) {
  return by_layer<results::Weights>(
      r, [](const results::Layer& layer) { return layer.weights ? &*layer.weights : nullptr; });
}

const results::Life* life_of(const results::Results& r, const results::Input& prompt) {
  const auto& lives = r.summary.lives;
  const auto found = std::find_if(lives.begin(), lives.end(),
                                  [&](const results::Life& life) { return life.input == prompt.name; });
  return found == lives.end() ? nullptr : &*found;
}

std::vector<const results::Input*> inputs_of(const results::Results& r, results::InputKind kind) {
  std::vector<const results::Input*> list;
  for (const results::Input& input : r.inputs) {
    if (input.kind == kind) list.push_back(&input);
  }
  return list;
}

size_t place_of(const results::Results& r, const results::Input& input) {
  const auto list = inputs_of(r, input.kind);
  return static_cast<size_t>(std::find(list.begin(), list.end(), &input) - list.begin());
}

std::vector<MeasuredValue> measured_values(const results::Results& r) {
  constexpr std::string_view kPath = results::kValuesPath;
  std::vector<MeasuredValue> values;
  for (const auto& [path, definition] : r.definitions) {
    if (path.starts_with(kPath) && (definition.shape == "[]" || definition.shape == "[H]"))
      values.push_back({path.substr(kPath.size()), &definition});
  }
  return values;
}

std::vector<std::vector<double>> values_by_layer(const results::Results& r, const results::Input& input,
                                                 const MeasuredValue& value) {
  const size_t count = value.by_head() ? static_cast<size_t>(r.model.heads) : 1;
  std::vector<std::vector<double>> rows;
  bool any = false;
  for (const results::Layer& layer : r.layers) {
    const std::vector<double>* found = layer.inputs.find(input.name)->values.find(value.name);
    rows.push_back(found == nullptr ? std::vector<double>() : *found);
    any = any || !rows.back().empty();
    rows.back().resize(count, results::kNone);
  }
  return any ? rows : std::vector<std::vector<double>>();
}

}  // namespace outliers::report
