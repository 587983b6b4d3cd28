#include "outliers/io/adapter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/shape.h"
#include "outliers/core/text_file.h"
#include "outliers/io/derived.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

/// adapter_config.json.
struct LoraConfig {
  double alpha = 0;
  int64_t rank = 0;
  bool root_scaling = false;  // use_rslora (2312.03732)
  bool transposed = false;    // fan_in_fan_out
  std::map<std::string, int64_t> ranks;
  std::map<std::string, double> alphas;

  LoraConfig(const json& config, const std::string& where);
  double scaling(double alpha_of_it, int64_t rank_of_it) const {
    const auto r = static_cast<double>(rank_of_it);
    return alpha_of_it / (root_scaling ? std::sqrt(r) : r);
  }
};

/// Whether an option that is off by default is on.
bool is_on(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return false;
  if (found->is_boolean()) return found->get<bool>();
  return !(found->is_array() || found->is_object()) || !found->empty();
}

LoraConfig::LoraConfig(const json& config, const std::string& where) {
  const auto text = [&](const char* key) {
    const auto found = config.find(key);
    return found != config.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  require(text("peft_type") == "LORA", "{}: the adapter is of the kind '{}'; known: LORA", where,
          printable(text("peft_type")));
  for (const char* option :
       {"use_dora", "use_qalora", "alora_invocation_tokens", "target_parameters", "layer_replication",
        "megatron_config", "trainable_token_indices", "lora_bias", "arrow_config", "use_bdlora",
        "kasa_config", "velora_config", "monteclora_config", "lora_ga_config", "corda_config", "loftq_config",
        "ensure_weight_tying"}) {
    require(!is_on(config, option), "{}: '{}' is not supported; merge the adapter with PEFT", where, option);
  }
  if (const auto init = config.find("init_lora_weights"); init != config.end() && init->is_string()) {
    const std::string name = init->get<std::string>();
    require(
        name == "gaussian" || name == "eva" || name == "orthogonal",
        "{}: 'init_lora_weights' is '{}', which changes the base weights too; merge the adapter with PEFT",
        where, printable(name));
  }
  const auto number = [&](const json& value, const char* key) {
    require(value.is_number() && std::isfinite(value.get<double>()), "{}: '{}' should be a number", where,
            key);
    return value.get<double>();
  };
  const auto whole = [&](const json& value, const char* key) {
    require(value.is_number_integer() && value.get<int64_t>() >= 1 && value.get<int64_t>() <= (1 << 20),
            "{}: '{}' should be a positive whole number", where, key);
    return value.get<int64_t>();
  };
  const auto need = [&](const char* key) -> const json& {
    const auto found = config.find(key);
    require(found != config.end(), "{}: '{}' is missing", where, key);
    return *found;
  };
  rank = whole(need("r"), "r");
  alpha = number(need("lora_alpha"), "lora_alpha");
  root_scaling = is_on(config, "use_rslora");
  transposed = is_on(config, "fan_in_fan_out");
  const auto patterns = [&](const char* key, const auto& take) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) return;
    require(found->is_object(), "{}: '{}' should be an object", where, key);
    for (const auto& [pattern, value] : found->items()) {
      require(pattern.find_first_of("*+?()[]{}|\\$") == std::string::npos,
              "{}: '{}' has the regular expression {}; only names of modules are supported", where, key,
              printable(pattern));
      take(pattern, value);
    }
  };
  patterns("rank_pattern", [&](const std::string& pattern, const json& value) {
    ranks[pattern] = whole(value, "rank_pattern");
  });
  patterns("alpha_pattern", [&](const std::string& pattern, const json& value) {
    alphas[pattern] = number(value, "alpha_pattern");
  });
}

/// The value for a module whose name is, or ends with, a pattern; ^ asks for the whole name.
template <typename T>
T by_pattern(const std::map<std::string, T>& patterns, const std::string& module, T otherwise) {
  for (const auto& [pattern, value] : patterns) {
    const bool whole = !pattern.empty() && pattern[0] == '^';
    if (module == (whole ? pattern.substr(1) : pattern) || (!whole && module.ends_with("." + pattern)))
      return value;
  }
  return otherwise;
}

/// The base's name for an adapter's: PEFT sees the model's modules, a checkpoint may lack the outermost
/// ("transformer.") or have one more.
const TensorInfo* find_in(const Checkpoint& base, const std::string& name) {
  if (const TensorInfo* info = base.find(name)) return info;
  const size_t dot = name.find('.');
  if (dot != std::string::npos) {
    if (const TensorInfo* info = base.find(name.substr(dot + 1))) return info;
  }
  const TensorInfo* found = nullptr;
  for (const TensorInfo& info : base.tensors()) {
    if (!info.name.ends_with("." + name)) continue;
    if (found != nullptr) return nullptr;
    found = &info;
  }
  return found;
}

/// What one module of the adapter has.
struct Module {
  const TensorInfo *a = nullptr, *b = nullptr;
  bool embedding = false;
};

json read_config(const fs::path& path) {
  std::error_code unreadable;
  require(fs::exists(path, unreadable), "{} holds no LoRA adapter: there is no adapter_config.json",
          printable(path.parent_path().string()));
  json config = parse_json<json>(read_text_file(path), printable(path.string()));
  require(config.is_object(), "{}: this is not a JSON object", printable(path.string()));
  return config;
}

}  // namespace

std::unique_ptr<Checkpoint> adapted(std::unique_ptr<Checkpoint> base, const fs::path& directory) {
  const fs::path config_path = directory / "adapter_config.json";
  const LoraConfig config(read_config(config_path), printable(config_path.string()));
  require(base->format() != Format::gguf,
          "{}: adapters are merged into Hugging Face checkpoints; the names and the order of a GGUF's "
          "weights are others",
          printable(base->path().string()));
  const bool pickled = !fs::exists(directory / "adapter_model.safetensors");
  require(!pickled || fs::exists(directory / "adapter_model.bin"),
          "{} holds no LoRA adapter: there is no adapter_model.safetensors or adapter_model.bin",
          printable(directory.string()));
  const std::shared_ptr<Checkpoint> adapter =
      Checkpoint::open(directory / (pickled ? "adapter_model.bin" : "adapter_model.safetensors"));

  std::map<std::string, Module> modules;
  std::vector<std::pair<const TensorInfo*, std::string>> replaced;  // modules_to_save, trained biases
  for (const TensorInfo& info : adapter->tensors()) {
    std::string name = info.name;
    if (name.starts_with("base_model.model.")) name.erase(0, 17);
    const auto part = [&](const char* suffix, const TensorInfo* Module::*member, bool embedding) {
      if (!name.ends_with(suffix)) return false;
      Module& module = modules[name.substr(0, name.size() - std::string_view(suffix).size())];
      module.*member = &info;
      module.embedding = embedding;
      return true;
    };
    if (!part(".lora_A.weight", &Module::a, false) && !part(".lora_B.weight", &Module::b, false) &&
        !part(".lora_embedding_A", &Module::a, true) && !part(".lora_embedding_B", &Module::b, true)) {
      replaced.emplace_back(&info, name);
    }
  }

  std::vector<std::string> problems;
  std::vector<DerivedTensor> derived;
  std::map<const TensorInfo*, std::string> taken;
  const auto place = [&](const std::string& name) {
    const TensorInfo* target = find_in(*base, name);
    if (target == nullptr) problems.push_back(fmt::format("{} is no tensor of the model", printable(name)));
    if (target != nullptr && !taken.emplace(target, name).second) {
      problems.push_back(fmt::format("{} occurs twice", printable(name)));
      target = nullptr;
    }
    return target;
  };
  const Checkpoint* const stored = base.get();
  for (const auto& [name, module] : modules) {
    if (module.a == nullptr || module.b == nullptr) {
      problems.push_back(fmt::format("{} has no lora_{}", printable(name), module.a == nullptr ? "A" : "B"));
      continue;
    }
    const TensorInfo* target = place(name + ".weight");
    if (target == nullptr) continue;
    const int64_t rank = by_pattern(config.ranks, name, config.rank);
    const auto &a = module.a->shape, &b = module.b->shape;
    if (a.size() != 2 || b.size() != 2 || a[0] != rank || b[1] != rank) {
      problems.push_back(fmt::format("{} has A {} and B {}, which are not of rank {}", printable(name),
                                     shape_string(a), shape_string(b), rank));
      continue;
    }
    // A Linear's weight is [out, in]; a Conv1D's and an embedding's are the other way round.
    const std::vector<int64_t> plain = {b[0], a[1]}, turned = {a[1], b[0]};
    const bool transposed =
        module.embedding || target->shape != plain || (config.transposed && target->shape == turned);
    if (target->shape != (transposed ? turned : plain)) {
      problems.push_back(fmt::format("{} is {}, and the adapter's B A {}", printable(target->name),
                                     shape_string(target->shape), shape_string(plain)));
      continue;
    }
    const double scaling = config.scaling(by_pattern(config.alphas, name, config.alpha), rank);
    DerivedTensor w;
    w.info = {target->name, target->shape, target->encoding + " + LoRA"};
    w.sources = {target->name};
    w.native = stored->native_dtype(target->name);
    w.rows = [adapter, stored, scaling, transposed, target_name = target->name, a_name = module.a->name,
              b_name = module.b->name](int64_t begin, int64_t end, bool as_double) {
      const at::ScalarType wide = as_double ? at::kDouble : at::kFloat;
      const at::Tensor matrix_a = adapter->load(a_name, wide), matrix_b = adapter->load(b_name, wide);
      const at::Tensor delta = transposed ? at::mm(matrix_a.narrow(1, begin, end - begin).t(), matrix_b.t())
                                          : at::mm(matrix_b.narrow(0, begin, end - begin), matrix_a);
      return stored->load_row_range(target_name, begin, end, wide) + delta * scaling;
    };
    derived.push_back(std::move(w));
  }
  for (const auto& [info, name] : replaced) {
    const TensorInfo* target = place(name);
    if (target == nullptr) continue;
    if (target->shape != info->shape) {
      problems.push_back(fmt::format("{} is {}, in the adapter {}", printable(target->name),
                                     shape_string(target->shape), shape_string(info->shape)));
      continue;
    }
    DerivedTensor w;
    w.info = {target->name, target->shape, info->encoding + " of the adapter"};
    w.sources = {target->name};
    w.native = adapter->native_dtype(info->name);
    w.rows = [adapter, source = info->name, dimensions = info->shape.size()](int64_t begin, int64_t end,
                                                                             bool as_double) {
      const at::ScalarType wide = as_double ? at::kDouble : at::kFloat;
      return dimensions < 2 ? adapter->load(source, wide) : adapter->load_row_range(source, begin, end, wide);
    };
    derived.push_back(std::move(w));
  }
  constexpr size_t kShown = 8;
  const size_t count = problems.size();
  if (count > kShown) {
    problems.resize(kShown);
    problems.emplace_back("...");
  }
  require(count == 0, "{}: {} of its tensors do not fit the model: {}", printable(adapter->path().string()),
          count, fmt::join(problems, "; "));
  require(!derived.empty(), "{} holds no tensors", printable(adapter->path().string()));
  return std::make_unique<DerivedCheckpoint>(std::move(base), std::move(derived));
}

}  // namespace outliers::io
