// Reports of schema outliers-results/1: one prompt and one corpus, each part a list of layers.
#include "outliers/results/convert_1.h"

#include <algorithm>

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

constexpr const char* kInputs[] = {"prompt", "corpus"};
constexpr const char* kPrompt = kInputs[0];

/// value.name, null where there is none; whatever value is.
const ordered_json& part(const ordered_json& value, const char* name) {
  static const ordered_json none;
  if (!value.is_object()) return none;
  const auto found = value.find(name);
  return found == value.end() ? none : *found;
}

template <typename... Names>
const ordered_json& part(const ordered_json& value, const char* name, Names... more) {
  return part(part(value, name), more...);
}

const ordered_json& entry(const ordered_json& list, size_t i) {
  static const ordered_json none;
  return list.is_array() && i < list.size() ? list[i] : none;
}

void put(ordered_json& object, const char* name, const ordered_json& value) {
  if (!value.is_null()) object[name] = value;
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
  run["measures"] = {"activations", "attention"};
  const auto add = [&](const char* measure, bool there) {
    if (there) run["measures"].push_back(measure);
  };
  add("attention_maps", part(json, "attention", "prompt", "probs_mean").is_string());
  add("weights", true);
  add("experts", part(json, "model", "experts").is_object());
  add("writes", true);
  add("prompt_values", true);
  add("norms", json.contains("norms"));
  add("alignment", true);
  return run;
}

ordered_json inputs_of(const ordered_json& json) {
  const ordered_json& prompt = part(json, "prompt");
  ordered_json first = {{"name", kPrompt}, {"kind", "prompt"}};
  put(first, "source", part(prompt, "text"));
  first["sequences"] = 1;
  const ordered_json& ids = part(prompt, "ids");
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

/// The parts of one layer, each of which said itself which layer it is of.
class LayerParts {
 public:
  explicit LayerParts(size_t layer) : layer_(layer), number_(layer) {}

  ordered_json operator()(const ordered_json& list) {
    ordered_json value = entry(list, layer_);
    if (!value.is_object()) return value;
    if (part(value, "layer") != layer_) number_ = part(value, "layer");
    value.erase("layer");
    return value;
  }
  /// massive_tokens came later.
  ordered_json activations(const ordered_json& list) {
    ordered_json value = (*this)(list);
    if (value.is_object() && !value.contains("massive_tokens"))
      value["massive_tokens"] = ordered_json::array();
    return value;
  }
  /// The layer; what a part said where it said otherwise.
  const ordered_json& number() const { return number_; }

 private:
  size_t layer_;
  ordered_json number_;
};

ordered_json expert_inputs(const ordered_json& experts, const char* input) {
  ordered_json list = ordered_json::array();
  if (!experts.is_array()) return list;
  for (const ordered_json& expert : experts) {
    const ordered_json& passed = part(expert, input);
    if (passed.is_null()) continue;
    ordered_json listed = {{"expert", part(expert, "expert")}};
    if (passed.is_object()) listed.update(passed);
    list.push_back(std::move(listed));
  }
  return list;
}

ordered_json weights_of(const ordered_json& layer) {
  if (!layer.is_object()) return layer;
  ordered_json weights = ordered_json::object();
  put(weights, "modules", part(layer, "modules"));
  put(weights, "router", part(layer, "router"));
  const ordered_json& experts = part(layer, "experts");
  if (!experts.is_array()) {
    put(weights, "experts", experts);
    return weights;
  }
  for (const ordered_json& expert : experts) {
    ordered_json listed = {{"expert", part(expert, "expert")}, {"modules", ordered_json::object()}};
    for (const char* module : {"gate", "up", "down"}) put(listed["modules"], module, part(expert, module));
    weights["experts"].push_back(std::move(listed));
  }
  return weights;
}

ordered_json summary_of(const ordered_json& json) {
  ordered_json summary = part(json, "summary");
  if (!summary.is_object()) return summary;
  ordered_json life = {{"input", kPrompt}};
  for (const char* name :
       {"found", "born_layer", "peak_layer", "removed_layer", "massive_channels", "massive_tokens"}) {
    if (summary.contains(name)) life[name] = std::move(summary[name]);
    summary.erase(name);
  }
  summary["lives"] = {life};
  // These came later.
  for (const char* name : {"first_nonfinite", "sink_rate"}) {
    if (!summary.contains(name)) summary[name] = nullptr;
  }
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

size_t layers_of_1(const ordered_json& json) {
  size_t count = 0;
  const auto longest = [&](const ordered_json& list) {
    if (list.is_array()) count = std::max(count, list.size());
  };
  for (const char* name : kInputs) {
    for (const char* point : {"resid_out", "down_in"}) longest(part(json, "activations", name, point));
    longest(part(json, "norms", name));
  }
  for (const char* name : {"weights", "writes"}) longest(part(json, name));
  longest(part(json, "attention", "prompt", "layers"));
  longest(part(json, "attention", "corpus"));
  return count;
}

ordered_json layer_of_1(const ordered_json& json, size_t l) {
  // What /1 always had stands there where it is missing too, as null, which the reader refuses.
  LayerParts parts(l);
  const ordered_json stored = parts(part(json, "weights"));
  ordered_json inputs = ordered_json::object();
  for (const char* name : kInputs) {
    const bool prompt = name == kPrompt;
    ordered_json& input = inputs[name] = ordered_json::object();
    for (const char* point : {"resid_out", "down_in"})
      input[point] = parts.activations(part(json, "activations", name, point));
    input["attention"] =
        parts(prompt ? part(json, "attention", "prompt", "layers") : part(json, "attention", "corpus"));
    if (prompt) input["writes"] = parts(part(json, "writes"));
    if (json.contains("norms") || json.contains("images")) input["norms"] = parts(part(json, "norms", name));
    ordered_json experts = expert_inputs(part(stored, "experts"), name);
    if (!experts.empty()) input["experts"] = std::move(experts);
  }
  ordered_json layer = {{"layer", parts.number()}};
  layer["weights"] = weights_of(stored);
  layer["inputs"] = std::move(inputs);
  return layer;
}

ordered_json converted_from_1(const ordered_json& json) {
  ordered_json converted = {{"schema", kSchema}};
  put(converted, "model", part(json, "model"));
  put(converted, "run", run_of(json));
  converted["inputs"] = inputs_of(json);
  put(converted, "images", part(json, "images"));
  put(converted, "summary", summary_of(json));
  return converted;
}

}  // namespace outliers::results
