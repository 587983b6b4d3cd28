#include "outliers/report/chosen_layers.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "outliers/report/measured.h"

namespace outliers::report {
namespace {

/// The layer of the largest `number`, of those that are finite; 0 where there is none.
template <typename T, typename F>
int64_t largest(const Layers<T>& layers, const F& number) {
  double best = -1;
  int64_t place = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const double value = number(*layers[l]);
    if (std::isfinite(value) && value > best) {
      best = value;
      place = static_cast<int64_t>(l);
    }
  }
  return place;
}

}  // namespace

Chosen choose(const results::Results& r, const results::Input* prompt) {
  const results::Life* life = prompt == nullptr ? nullptr : life_of(r, *prompt);
  const auto layers =
      prompt == nullptr ? Layers<results::Activations>() : activation_layers(r, *prompt, "resid_out");
  Chosen chosen;
  if (life != nullptr) {
    chosen.removed = life->removed_layer;
    chosen.peak = life->peak_layer;
  }
  if (life != nullptr && life->born_layer) {
    chosen.born = *life->born_layer;
  } else if (!layers.empty()) {
    chosen.born = largest(layers, [](const results::Activations& x) { return x.max / x.median; });
  } else {
    chosen.born =
        largest(weight_layers(r), [](const results::Weights& x) { return x.modules.find("down")->score; });
  }
  const int64_t last = std::max(r.told_layers(), chosen.born + 1) - 1;
  chosen.after = std::min(chosen.born + 1, last);
  return chosen;
}

std::string untold_layers(const results::Results& r) {
  if (!r.summary.first_nonfinite) return "";
  const double from = static_cast<double>(r.told_layers()) - 0.5,
               to = static_cast<double>(r.model.layers) - 0.5;
  const bool narrow = (to - from) / static_cast<double>(r.model.layers) < 0.3;
  return fmt::format(
      "set object 99 rectangle from {:g}, graph 0 to {:g}, graph 1 behind fillcolor rgb '#eeeeee' fillstyle "
      "solid "
      "noborder\n"
      "set label 99 'cannot be told' at {:g}, graph 0.5 center{} textcolor rgb '#666666'\n",
      from, to, (from + to) / 2, narrow ? " rotate by 90" : "");
}

}  // namespace outliers::report
