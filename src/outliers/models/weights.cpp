#include "outliers/models/weights.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_set>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"

namespace outliers::models {

namespace {

int64_t size_of_symbol(std::string_view symbol, const Config& c, int64_t B, int64_t T) {
  if (symbol == "B") return B;
  if (symbol == "T") return T;
  if (symbol == "D") return c.width;
  if (symbol == "De") return c.embedding_width;
  if (symbol == "P") return c.max_positions;
  if (symbol == "H") return c.heads;
  if (symbol == "Hk") return c.kv_heads;
  if (symbol == "d") return c.head_width;
  if (symbol == "F") return c.mlp_width;
  if (symbol == "V") return c.vocabulary;
  if (symbol == "E") return c.experts.count;
  if (symbol == "k") return c.experts.used;
  if (symbol == "Fe") return c.experts.width;
  if (symbol == "Fs") return c.experts.shared_width;
  if (symbol == "C") return c.vision.channels;
  if (symbol == "R") return c.vision.registers;
  if (symbol == "ph") return c.vision.patch_height;
  if (symbol == "pw") return c.vision.patch_width;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(symbol.data(), symbol.data() + symbol.size(), number);
  TORCH_INTERNAL_ASSERT(error == std::errc() && end == symbol.data() + symbol.size(),
                        "unknown symbol in a weight's shape: ", symbol);
  return number;
}

std::string with_number(std::string name, char place, int64_t number) {
  if (const size_t at = name.find(place); at != std::string::npos) {
    name.replace(at, 1, std::to_string(number));
  }
  return name;
}

bool of_layer(const WeightRow& row) {
  return std::string_view(row.ours).find('*') != std::string_view::npos;
}

/// Whether a pattern is the beginning of the name or, after a *, its ending.
bool is_ignored(std::string_view name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](std::string_view pattern) {
    return pattern.starts_with('*') ? name.ends_with(pattern.substr(1)) : name.starts_with(pattern);
  });
}

/// What stands before the names of a Hugging Face checkpoint: found by the embedding, which all have.
std::string find_prefix(const Family& family, const io::Checkpoint& checkpoint) {
  for (const std::string& prefix : family.prefixes) {
    if (checkpoint.find(fmt::format("{}{}.weight", prefix, family.weights.front().hugging_face)) != nullptr) {
      return prefix;
    }
  }
  return family.prefixes.front();
}

/// The name under which a Hugging Face checkpoint has a tensor, or should have it. The head stands beside the
/// body ("lm_head.weight", "language_model.lm_head.weight"), not in it.
std::string find_name(const std::string& name, const std::string& prefix, const io::Checkpoint& checkpoint) {
  constexpr std::string_view kBody = "model.";
  std::string beside = prefix;
  if (beside.ends_with(kBody)) beside.resize(beside.size() - kBody.size());
  for (const std::string& candidate : {prefix + name, beside + name, name}) {
    if (checkpoint.find(candidate) != nullptr) return candidate;
  }
  return prefix + name;
}

/// The shape in the file of what is `shape` after the transform.
std::vector<int64_t> stored_shape(std::vector<int64_t> shape, Transform transform, const Config& config) {
  if (transform == Transform::flatten) {
    const Vision& v = config.vision;
    return {shape.front(), v.channels, v.patch_height, v.patch_width};
  }
  if (transform == Transform::transpose) std::swap(shape.end()[-1], shape.end()[-2]);
  return shape;
}

/// A module's name with what its weight or bias is called: ".weight", ".bias".
std::string tensor_name(std::string name, const char* suffix) {
  if (!name.ends_with('$')) return name + suffix;
  name.pop_back();
  return suffix == std::string_view(".bias") ? name + "_bias" : name;
}

/// Tensors that other readers derive or that describe no weight.
bool is_derived(const std::string& name) {
  constexpr std::string_view kRotary = "rotary_emb.inv_freq";
  return name.ends_with(kRotary) || name == "rope_freqs.weight" || name == "rope_factors_short.weight" ||
         name == "rope_factors_long.weight";
}

/// "3 missing (a, b, c)": nothing for an empty list, and at most 8 names.
void describe(std::vector<std::string>& parts, const std::vector<std::string>& names, const char* what) {
  if (names.empty()) return;
  constexpr size_t kShown = 8;
  const std::vector<std::string> shown(names.begin(),
                                       names.begin() + static_cast<int64_t>(std::min(kShown, names.size())));
  parts.push_back(fmt::format("{} {} ({}{})", names.size(), what, fmt::join(shown, "; "),
                              names.size() > kShown ? "; ..." : ""));
}

}  // namespace

std::vector<int64_t> resolve_shape(const std::string& symbolic, const Config& config, int64_t B, int64_t T) {
  std::vector<int64_t> shape;
  int64_t sum = 0, product = 1;
  std::string symbol;
  for (char c : symbolic) {
    if (c == '[' || c == ' ') continue;
    if (c != '*' && c != '+' && c != ',' && c != ']') {
      symbol += c;
      continue;
    }
    product *= size_of_symbol(symbol, config, B, T);
    symbol.clear();
    if (c == '*') continue;
    sum += product;
    product = 1;
    if (c == '+') continue;
    shape.push_back(sum);
    sum = 0;
  }
  return shape;
}

io::AdapterBase adapter_base(const Family& family, const Config& config, const io::Checkpoint& checkpoint) {
  io::AdapterBase base;
  const std::string prefix = find_prefix(family, checkpoint);
  base.embedding = fmt::format("{}{}.weight", prefix, family.weights.front().hugging_face);
  base.transposed = std::any_of(family.weights.begin(), family.weights.end(), [](const WeightRow& row) {
    return row.hugging_face_transform == Transform::transpose &&
           std::string_view(row.ours).find(".experts.") == std::string_view::npos;
  });
  for (const WeightRow& row : family.weights) {
    if (std::string_view(row.ours) != "head" || row.hugging_face == nullptr || !config.tied_embeddings)
      continue;
    const std::string name = fmt::format("{}.weight", row.hugging_face);
    if (checkpoint.find(find_name(name, prefix, checkpoint)) == nullptr) base.tied_head = name;
  }
  return base;
}

WeightMap::WeightMap(const Family& family, const Config& config, const io::Checkpoint& checkpoint) {
  const bool gguf = checkpoint.format() == io::Format::gguf;
  const std::string prefix = gguf ? "" : find_prefix(family, checkpoint);
  std::vector<std::string> missing, unknown, misshapen;
  std::unordered_set<std::string> known;

  const auto add_tensor = [&](const WeightRow& row, int64_t layer, const char* suffix,
                              const std::vector<int64_t>& shape) {
    const std::string pattern =
        tensor_name(with_number(gguf ? row.gguf : row.hugging_face, '*', layer), suffix);
    StoredWeight weight{with_number(row.ours, '*', layer) + suffix,
                        {},
                        shape,
                        gguf ? row.gguf_transform : row.hugging_face_transform,
                        std::string_view(row.ours).find(".experts.") != std::string_view::npos};
    const bool is_bias = suffix == std::string_view(".bias");
    // Biases stand in their weight's order of rows, but are no matrices.
    if (is_bias && (weight.transform == Transform::transpose || weight.transform == Transform::flatten)) {
      weight.transform = Transform::none;
    }
    const auto add_part = [&](const std::string& name, const std::vector<int64_t>& wanted) {
      const std::string stored = gguf ? name : find_name(name, prefix, checkpoint);
      known.insert(stored);
      weight.stored.push_back(stored);
      const io::TensorInfo* info = checkpoint.find(stored);
      if (info == nullptr) {
        missing.push_back(stored);
        return;
      }
      // A single row may be stored as a vector.
      const bool flat = wanted.front() == 1 && info->shape.size() + 1 == wanted.size() &&
                        std::equal(info->shape.begin(), info->shape.end(), wanted.begin() + 1);
      if (info->shape != wanted && !flat) {
        misshapen.push_back(fmt::format("{} is {}, should be {}{} = {}", stored, shape_string(info->shape),
                                        row.shape, wanted == shape ? "" : ", here", shape_string(wanted)));
      }
    };
    if (pattern.find('#') != std::string::npos) {
      const std::vector<int64_t> wanted =
          stored_shape(std::vector<int64_t>(shape.begin() + 1, shape.end()), weight.transform, config);
      for (int64_t part = 0; part < shape.front(); ++part) add_part(with_number(pattern, '#', part), wanted);
    } else {
      add_part(pattern, stored_shape(shape, weight.transform, config));
    }
    index_.emplace(weight.name, weights_.size());
    weights_.push_back(std::move(weight));
  };
  const auto add = [&](const WeightRow& row, int64_t layer) {
    const char* name = gguf ? row.gguf : row.hugging_face;
    if (name == nullptr) return;
    if (row.layers != Layers::all && is_routed(config, layer) != (row.layers == Layers::routed)) return;
    if (row.when != nullptr && !row.when(config)) {
      if (row.may_be_stored) {
        known.insert(gguf ? fmt::format("{}.weight", name)
                          : find_name(fmt::format("{}.weight", name), prefix, checkpoint));
      }
      return;
    }
    const std::vector<int64_t> shape = resolve_shape(row.shape, config);
    add_tensor(row, layer, ".weight", shape);
    if (row.bias != nullptr && row.bias(config)) {
      add_tensor(row, layer, ".bias", {shape.begin(), shape.size() > 1 ? shape.end() - 1 : shape.end()});
    }
  };
  for (const WeightRow& row : family.weights) {
    if (!of_layer(row)) add(row, -1);
  }
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const WeightRow& row : family.weights) {
      if (of_layer(row)) add(row, layer);
    }
  }
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    if (known.count(info.name) == 0 && !is_derived(info.name) && !is_ignored(info.name, family.ignored)) {
      unknown.push_back(printable(info.name));
    }
  }
  std::vector<std::string> problems;
  describe(problems, missing, "missing");
  describe(problems, misshapen, "of another shape");
  describe(problems, unknown, "unknown");
  require(problems.empty(), "{}: the tensors are not those of a {} model of {} layers: {}",
          printable(checkpoint.path().string()), family.name, config.layers, fmt::join(problems, ", "));
}

const StoredWeight* WeightMap::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &weights_[it->second];
}

}  // namespace outliers::models
