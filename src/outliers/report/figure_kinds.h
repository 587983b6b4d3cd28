// The kinds of figures, for the table of figures.cpp. Each returns nothing where its part was not measured or
// has nothing to show.
#pragma once

#include <optional>
#include <string>

#include "outliers/report/chosen_layers.h"
#include "outliers/report/figure.h"
#include "outliers/report/measured.h"
#include "outliers/report/results.h"

namespace outliers::report {

/// What a figure is drawn of.
struct Sheet {
  const Results& report;
  std::string name;                       ///< the figure's
  const results::Input* input = nullptr;  ///< the prompt or the corpus; nullptr where it is of weights alone
  Chosen chosen;

  const results::Results& data() const { return report.data; }
};

// figures_3d.cpp
std::optional<Figure> activations_3d(const Sheet& sheet, const char* point, int64_t layer);
/// The first three columns of the down projection, its top one with its neighbours, and the last.
std::optional<Figure> columns_3d(const Sheet& sheet, int64_t layer);
/// Layers by the score of down_proj, the largest first, without `except`.
std::vector<int64_t> heaviest_layers(const results::Results& r, int64_t except);

// figures_layers.cpp
std::optional<Figure> activations_by_layer(const Sheet& sheet, const char* point);
std::optional<Figure> scores_by_layer(const Sheet& sheet);
std::optional<Figure> channels_by_layer(const Sheet& sheet, const char* point);
std::optional<Figure> columns_by_layer(const Sheet& sheet);
std::optional<Figure> weights_by_layer(const Sheet& sheet);
std::optional<Figure> heads_by_layer(const Sheet& sheet);
std::optional<Figure> norms_by_layer(const Sheet& sheet);
/// A line for each input that has the value.
std::optional<Figure> value_by_layer(const Sheet& sheet, const MeasuredValue& value);

// figures_maps.cpp
std::optional<Figure> attention_map(const Sheet& sheet);
/// The image's patches where they are, in the last layer.
std::optional<Figure> norm_map(const Sheet& sheet);
/// Layers by heads.
std::optional<Figure> value_map(const Sheet& sheet, const MeasuredValue& value);

// figures_life.cpp
/// The MLP of the layer of birth ("born") or of removal ("removed"), from its input to its output.
std::optional<Figure> mlp_flow(const Sheet& sheet, const char* part);
/// The chosen head of the layer of spread.
std::optional<Figure> head_flow(const Sheet& sheet);

// figures_classes.cpp
std::optional<Figure> outlier_keys(const Sheet& sheet);
std::optional<Figure> massive_tokens(const Sheet& sheet);

}  // namespace outliers::report
