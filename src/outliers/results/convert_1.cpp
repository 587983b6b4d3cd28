// Reports of schema outliers-results/1: one prompt and one corpus, each part a list of layers.
#include <algorithm>

#include "outliers/core/criteria.h"
#include "outliers/results/json_read.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

constexpr const char* kInputs[] = {"prompt", "corpus"};

/// value.name, null where there is none; whatever value is.
ordered_json part(const ordered_json& value, const char* name) {
  return value.is_object() && value.contains(name) ? value[name] : ordered_json();
}

template <typename... Names>
ordered_json part(const ordered_json& value, const char* name, Names... more) {
  return part(part(value, name), more...);
}

ordered_json entry(const ordered_json& list, size_t i) {
  return list.is_array() && i < list.size() ? list[i] : ordered_json();
}

void put(ordered_json& object, const char* name, ordered_json value) {
  if (!value.is_null()) object[name] = std::move(value);
}

/// A field under a new name.
void rename(ordered_json& object, const char* from, const char* to) {
  if (!object.is_object() || !object.contains(from)) return;
  ordered_json value = std::move(object[from]);
  object.erase(from);
  object[to] = std::move(value);
}

ordered_json run_of(const ordered_json& json) {
  ordered_json run = part(json, "run");
  if (!run.is_object()) return run;
  for (const char* name : {"sequences", "tokens_per_sequence", "corpus"}) run.erase(name);
  run["measures"] = {"activations", "attention", "attention_maps", "weights",
                     "experts",     "writes",    "prompt_values",  "alignment"};
  if (json.contains("norms")) run["measures"].push_back("norms");
  return run;
}

ordered_json inputs_of(const ordered_json& json) {
  const ordered_json prompt = part(json, "prompt");
  ordered_json first = {{"name", "prompt"}, {"kind", "prompt"}};
  put(first, "source", part(prompt, "text"));
  first["sequences"] = 1;
  const ordered_json ids = part(prompt, "ids");
  if (ids.is_array()) first["tokens_per_sequence"] = ids.size();
  for (const char* name : {"ids", "tokens", "classes", "kept_tokens"}) put(first, name, part(prompt, name));
  first["attention_maps"] = part(json, "attention", "prompt", "probs_mean").is_string();
  put(first, "embedding", part(prompt, "embedding"));

  ordered_json second = {{"name", "corpus"}, {"kind", "corpus"}};
  put(second, "source", part(json, "run", "corpus"));
  put(second, "sequences", part(json, "run", "sequences"));
  put(second, "tokens_per_sequence", part(json, "run", "tokens_per_sequence"));
  second["kept_tokens"] = 0;
  second["attention_maps"] = false;
  return {first, second};
}

/// Activations got massive_tokens later.
ordered_json activations_of(ordered_json activations) {
  if (activations.is_object()) {
    activations.erase("layer");
    if (!activations.contains("massive_tokens")) activations["massive_tokens"] = ordered_json::array();
  }
  return activations;
}

ordered_json without_layer(ordered_json value) {
  if (value.is_object()) value.erase("layer");
  return value;
}

ordered_json expert_inputs(const ordered_json& experts, const char* input) {
  ordered_json list = ordered_json::array();
  if (!experts.is_array()) return list;
  for (const ordered_json& expert : experts) {
    ordered_json passed = part(expert, input);
    if (!passed.is_object()) continue;
    ordered_json listed = {{"expert", part(expert, "expert")}};
    listed.update(passed);
    list.push_back(std::move(listed));
  }
  return list;
}

ordered_json weights_of(const ordered_json& layer) {
  if (!layer.is_object()) return layer;
  ordered_json weights = ordered_json::object();
  put(weights, "modules", part(layer, "modules"));
  put(weights, "router", part(layer, "router"));
  const ordered_json experts = part(layer, "experts");
  if (!experts.is_array()) return weights;
  for (const ordered_json& expert : experts) {
    ordered_json listed = {{"expert", part(expert, "expert")}, {"modules", ordered_json::object()}};
    for (const char* module : {"gate", "up", "down"}) put(listed["modules"], module, part(expert, module));
    weights["experts"].push_back(std::move(listed));
  }
  return weights;
}

ordered_json layers_of(const ordered_json& json) {
  const ordered_json weights = part(json, "weights"), writes = part(json, "writes");
  size_t count = weights.size();
  for (const char* name : kInputs) {
    count = std::max(count, part(json, "activations", name, "resid_out").size());
  }
  ordered_json layers = ordered_json::array();
  for (size_t l = 0; l < count; ++l) {
    const ordered_json stored = entry(weights, l);
    ordered_json inputs = ordered_json::object();
    for (const char* name : kInputs) {
      const bool prompt = name == kInputs[0];
      ordered_json& input = inputs[name] = ordered_json::object();
      for (const char* point : {"resid_out", "down_in"}) {
        put(input, point, activations_of(entry(part(json, "activations", name, point), l)));
      }
      const ordered_json attention =
          prompt ? part(json, "attention", "prompt", "layers") : part(json, "attention", "corpus");
      put(input, "attention", without_layer(entry(attention, l)));
      if (prompt) put(input, "writes", without_layer(entry(writes, l)));
      put(input, "norms", without_layer(entry(part(json, "norms", name), l)));
      ordered_json experts = expert_inputs(part(stored, "experts"), name);
      if (!experts.empty()) input["experts"] = std::move(experts);
    }
    ordered_json layer = {{"layer", l}};
    put(layer, "weights", weights_of(stored));
    layer["inputs"] = std::move(inputs);
    layers.push_back(std::move(layer));
  }
  return layers;
}

ordered_json summary_of(const ordered_json& json) {
  ordered_json summary = part(json, "summary");
  if (!summary.is_object()) return summary;
  ordered_json life = {{"input", "prompt"}};
  for (const char* name :
       {"found", "born_layer", "peak_layer", "removed_layer", "massive_channels", "massive_tokens"}) {
    if (summary.contains(name)) life[name] = std::move(summary[name]);
    summary.erase(name);
  }
  summary["lives"] = {life};
  if (!summary.contains("first_nonfinite")) summary["first_nonfinite"] = nullptr;
  if (!summary.contains("sink_rate")) summary["sink_rate"] = nullptr;
  rename(summary["first_nonfinite"], "batch", "input");
  if (part(summary, "headroom").is_object()) {
    for (auto& [point, headroom] : summary["headroom"].items()) {
      if (!headroom.is_object()) continue;
      rename(headroom, "batch", "input");
      if (!headroom.contains("nonfinite")) headroom["nonfinite"] = 0;
    }
  }
  return summary;
}

}  // namespace

ordered_json converted_from_1(const ordered_json& json) {
  ordered_json converted = {{"schema", kSchema}};
  put(converted, "model", part(json, "model"));
  put(converted, "run", run_of(json));
  converted["criteria"] = criteria_json();
  converted["inputs"] = inputs_of(json);
  put(converted, "images", part(json, "images"));
  converted["layers"] = layers_of(json);
  put(converted, "summary", summary_of(json));
  converted["definitions"] = ordered_json::object();
  return converted;
}

}  // namespace outliers::results
