#include "outliers/report/whole.h"

#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

/// Calls action(layer) for each layer's object of the measurements; `json` may be const.
template <typename Json, typename Action>
void for_each_layer(Json& json, const Action& action) {
  for (const char* batch : {"prompt", "corpus"}) {
    for (const char* point : {"resid_out", "down_in"}) {
      for (auto& layer : json["activations"][batch][point]) action(layer);
    }
  }
  for (auto& layer : json["attention"]["prompt"]["layers"]) action(layer);
  for (auto& layer : json["attention"]["corpus"]) action(layer);
}

bool is_whole(const ordered_json& layer) {
  return layer.value("nonfinite", 0) == 0;
}

void empty(ordered_json& layer) {
  for (const char* number : {"max", "median", "mean", "kurtosis_pearson", "infinity_norm"}) {
    if (layer.contains(number)) layer[number] = nullptr;
  }
  for (const char* list :
       {"top3_mean", "top", "top_channels", "massive", "massive_tokens", "top_keys", "outlier_keys"}) {
    if (layer.contains(list)) layer[list] = ordered_json::array();
  }
  if (!layer.contains("heads")) return;
  for (ordered_json& head : layer["heads"]) head["outlier_share"] = head["sink_rate"] = nullptr;
}

}  // namespace

bool has_nonfinite(const Results& results) {
  bool any = false;
  for_each_layer(results.json, [&](const ordered_json& layer) { any = any || !is_whole(layer); });
  return any;
}

Results whole_layers(const Results& results) {
  Results whole = read_results(results.directory);
  for_each_layer(whole.json, [](ordered_json& layer) {
    if (!is_whole(layer)) empty(layer);
  });
  const size_t told = told_layers(whole.json);
  for (const char* batch : {"prompt", "corpus"}) {
    if (!whole.json.contains("norms")) break;
    ordered_json& layers = whole.json["norms"][batch];
    for (size_t l = told; l < layers.size(); ++l) {
      for (const char* tokens : {"cls", "registers", "patches"}) {
        if (layers[l].contains(tokens)) layers[l][tokens]["median"] = layers[l][tokens]["max"] = nullptr;
      }
    }
  }
  return whole;
}

}  // namespace outliers::report
