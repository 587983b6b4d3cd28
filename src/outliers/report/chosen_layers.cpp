#include "outliers/report/chosen_layers.h"

#include <algorithm>
#include <cmath>

#include "outliers/report/words.h"

namespace outliers::report {

using nlohmann::ordered_json;

Chosen choose(const Results& r) {
  const ordered_json& summary = r.json["summary"];
  Chosen chosen{0, 0, std::nullopt};
  if (!summary["born_layer"].is_null()) {
    chosen.born = summary["born_layer"];
  } else {
    double best = -1;
    for (const ordered_json& layer : r.json["activations"]["prompt"]["resid_out"]) {
      const double ratio = number_of(layer["max"]) / number_of(layer["median"]);
      if (std::isfinite(ratio) && ratio > best) {
        best = ratio;
        chosen.born = layer["layer"];
      }
    }
  }
  const int64_t last = std::max(static_cast<int64_t>(told_layers(r.json)), chosen.born + 1) - 1;
  chosen.after = std::min(chosen.born + 1, last);
  if (!summary["removed_layer"].is_null()) chosen.removed = summary["removed_layer"].get<int64_t>();
  return chosen;
}

}  // namespace outliers::report
