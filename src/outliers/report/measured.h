// What figures, texts and pages ask of results: the layers of one measurement in a row, and inputs by kind.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "outliers/results/results.h"

namespace outliers::report {

/// By layer; empty where it was not measured.
template <typename T>
using Layers = std::vector<const T*>;

Layers<results::Activations> activation_layers(const results::Results& r, const results::Input& input,
                                               std::string_view point);
Layers<results::Attention> attention_layers(const results::Results& r, const results::Input& input);
Layers<results::Writes> write_layers(const results::Results& r, const results::Input& input);
Layers<results::Norms> norm_layers(const results::Results& r, const results::Input& input);
Layers<results::Weights> weight_layers(const results::Results& r);

/// What the prompt tells of an outlier's life; nullptr where that was not measured.
const results::Life* life_of(const results::Results& r, const results::Input& prompt);

std::vector<const results::Input*> inputs_of(const results::Results& r, results::InputKind kind);
/// Its place among the inputs of its kind, from 0.
size_t place_of(const results::Results& r, const results::Input& input);

/// A number that a measure gives for each layer, without code of its own: results.definitions says what it
/// is.
struct MeasuredValue {
  std::string name;
  const results::Definition* what;
  bool by_head() const { return what->shape == "[H]"; }
};
/// Those whose shape is [] or [H].
std::vector<MeasuredValue> measured_values(const results::Results& r);
/// Of one input: [layer][0 or head], NaN where there is none; empty where no layer has any.
std::vector<std::vector<double>> values_by_layer(const results::Results& r, const results::Input& input,
                                                 const MeasuredValue& value);

}  // namespace outliers::report
