#include "outliers/models/weights.h"

#include <algorithm>
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
  if (symbol == "H") return c.heads;
  if (symbol == "Hk") return c.kv_heads;
  if (symbol == "d") return c.head_width;
  if (symbol == "F") return c.mlp_width;
  if (symbol == "V") return c.vocabulary;
  TORCH_INTERNAL_ASSERT(false, "unknown symbol in a weight's shape: ", symbol);
}

std::string with_layer(const char* pattern, int64_t layer) {
  std::string name = pattern;
  if (const size_t star = name.find('*'); star != std::string::npos) {
    name.replace(star, 1, std::to_string(layer));
  }
  return name;
}

bool of_layer(const WeightRow& row) {
  return std::string_view(row.ours).find('*') != std::string_view::npos;
}

bool starts_with_any(const std::string& name, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return name.rfind(beginning, 0) == 0; });
}

/// What stands before the names of a Hugging Face checkpoint: found by the embedding, which all have.
std::string find_prefix(const Family& family, const io::Checkpoint& checkpoint) {
  for (const std::string& prefix : family.prefixes) {
    if (checkpoint.find(prefix + family.weights.front().hugging_face) != nullptr) return prefix;
  }
  return family.prefixes.front();
}

/// The name under which the checkpoint has the row's tensor, or should have it. The head stands beside the
/// body ("lm_head.weight", "language_model.lm_head.weight"), not in it.
std::string stored_name(const WeightRow& row, int64_t layer, const std::string& prefix,
                        const io::Checkpoint& checkpoint) {
  if (checkpoint.format() == io::Format::gguf) return with_layer(row.gguf, layer);
  const std::string name = with_layer(row.hugging_face, layer);
  constexpr std::string_view kBody = "model.";
  std::string beside = prefix;
  if (prefix.size() >= kBody.size() &&
      prefix.compare(prefix.size() - kBody.size(), kBody.size(), kBody) == 0) {
    beside.resize(prefix.size() - kBody.size());
  }
  for (const std::string& candidate : {prefix + name, beside + name, name}) {
    if (checkpoint.find(candidate) != nullptr) return candidate;
  }
  return prefix + name;
}

/// Tensors that other readers derive or that describe no weight.
bool is_derived(const std::string& name) {
  constexpr std::string_view kRotary = "rotary_emb.inv_freq";
  const bool buffer = name.size() >= kRotary.size() &&
                      name.compare(name.size() - kRotary.size(), kRotary.size(), kRotary) == 0;
  return buffer || name == "rope_freqs.weight";
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
  int64_t size = 1;
  std::string symbol;
  for (char c : symbolic) {
    if (c == '[' || c == ' ') continue;
    if (c != '*' && c != ',' && c != ']') {
      symbol += c;
      continue;
    }
    size *= size_of_symbol(symbol, config, B, T);
    symbol.clear();
    if (c == '*') continue;
    shape.push_back(size);
    size = 1;
  }
  return shape;
}

WeightMap::WeightMap(const Family& family, const Config& config, const io::Checkpoint& checkpoint) {
  const bool gguf = checkpoint.format() == io::Format::gguf;
  const std::string prefix = gguf ? "" : find_prefix(family, checkpoint);
  std::vector<std::string> missing, unknown, misshapen;
  std::unordered_set<std::string> known;

  const auto add = [&](const WeightRow& row, int64_t layer) {
    const std::string stored = stored_name(row, layer, prefix, checkpoint);
    if (row.not_needed != nullptr && config.*row.not_needed) {
      known.insert(stored);
      return;
    }
    if (row.needed != nullptr && !(config.*row.needed)) return;
    known.insert(stored);
    const std::vector<int64_t> shape = resolve_shape(row.shape, config);
    const io::TensorInfo* info = checkpoint.find(stored);
    if (info == nullptr) {
      missing.push_back(stored);
    } else if (info->shape != shape) {
      misshapen.push_back(fmt::format("{} is {}, should be {} = {}", stored, shape_string(info->shape),
                                      row.shape, shape_string(shape)));
    }
    const std::string name = with_layer(row.ours, layer);
    index_.emplace(name, weights_.size());
    weights_.push_back({name, stored, shape, gguf ? row.gguf_transform : Transform::none});
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
    if (known.count(info.name) == 0 && !is_derived(info.name) &&
        !starts_with_any(info.name, family.ignored)) {
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
