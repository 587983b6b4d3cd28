#include "outliers/report/chosen_layers.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

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

bool tells_all(std::string_view figure) {
  return figure.find("weight") != std::string_view::npos;
}

bool can_tell(const Results& r, std::string_view figure) {
  const auto told = static_cast<int64_t>(told_layers(r.json));
  return tells_all(figure) ||
         (figure == "norm_map" ? told == r.sizes.L : told > 0);  // a map of the last layer
}

std::string untold_layers(const Results& r) {
  if (first_nonfinite(r.json).is_null()) return "";
  const double from = static_cast<double>(told_layers(r.json)) - 0.5,
               to = static_cast<double>(r.sizes.L) - 0.5;
  const bool narrow = (to - from) / static_cast<double>(r.sizes.L) < 0.3;
  return fmt::format(
      "set object 99 rectangle from {:g}, graph 0 to {:g}, graph 1 behind fillcolor rgb '#eeeeee' fillstyle "
      "solid "
      "noborder\n"
      "set label 99 'cannot be told' at {:g}, graph 0.5 center{} textcolor rgb '#666666'\n",
      from, to, (from + to) / 2, narrow ? " rotate by 90" : "");
}

}  // namespace outliers::report
