#include "outliers/models/weights.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_set>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/shape.h"
#include "outliers/core/warning.h"
#include "outliers/io/dequantize.h"

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

const WeightRow* find_row(const Family& family, std::string_view ours) {
  const auto row = std::find_if(family.weights.begin(), family.weights.end(),
                                [&](const WeightRow& candidate) { return ours == candidate.ours; });
  return row == family.weights.end() ? nullptr : &*row;
}

/// What stands before the names of a Hugging Face checkpoint: found by the embedding, which all have but
/// those that store the head alone for both, or by the final norm.
std::string find_prefix(const Family& family, const io::Checkpoint& checkpoint) {
  for (const WeightRow* row : {&family.weights.front(), find_row(family, "final_norm")}) {
    for (const std::string& prefix : family.prefixes) {
      const std::string name = fmt::format("{}{}.weight", prefix, row->hugging_face);
      if (checkpoint.find(name) != nullptr) return prefix;
    }
  }
  return family.prefixes.front();
}

/// The name under which a Hugging Face checkpoint has a tensor, or should have it. The head stands beside the
/// body ("lm_head.weight", "language_model.lm_head.weight"), not in it, and transformers 5 calls it lm_head
/// where it was another name before.
std::string find_name(const std::string& name, const std::string& prefix, bool is_head,
                      const io::Checkpoint& checkpoint) {
  constexpr std::string_view kBody = "model.";
  std::string beside = prefix;
  if (beside.ends_with(kBody)) beside.resize(beside.size() - kBody.size());
  for (const std::string& candidate : {prefix + name, beside + name, name}) {
    if (checkpoint.find(candidate) != nullptr) return candidate;
  }
  if (!is_head) return prefix + name;
  const std::string newer = "lm_head" + name.substr(name.rfind('.'));
  return checkpoint.find(newer) != nullptr ? newer : name;
}

/// Whether two stored matrices are of the same numbers. Stops at the first rows that differ.
bool same_values(const io::Checkpoint& checkpoint, const io::TensorInfo& a, const io::TensorInfo& b) {
  if (a.shape != b.shape || a.shape.size() != 2 || a.encoding != b.encoding || a.shape[1] == 0) return false;
  const at::ScalarType dtype = checkpoint.native_dtype(a.name);
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 22) / a.shape[1]);
  bool same = true;
  for (int64_t row = 0; same && row < a.shape[0]; row += step) {
    check_interrupt();
    const int64_t end = std::min(row + step, a.shape[0]);
    same = at::equal(checkpoint.load_row_range(a.name, row, end, dtype),
                     checkpoint.load_row_range(b.name, row, end, dtype));
  }
  checkpoint.release(a.name);
  checkpoint.release(b.name);
  return same;
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
    if (checkpoint.find(find_name(name, prefix, true, checkpoint)) == nullptr) base.tied_head = name;
  }
  return base;
}

void settle_head(const Family& family, Config& config, const io::Checkpoint& checkpoint) {
  const WeightRow* row = find_row(family, "head");
  if (row == nullptr) return;  // a model of images
  const bool gguf = checkpoint.format() == io::Format::gguf;
  const std::string prefix = gguf ? "" : find_prefix(family, checkpoint);
  const auto find = [&](const char* name, bool is_head) {
    return gguf ? fmt::format("{}.weight", name)
                : find_name(fmt::format("{}.weight", name), prefix, is_head, checkpoint);
  };
  const std::string name = find(gguf ? row->gguf : row->hugging_face, true);
  const io::TensorInfo* head = checkpoint.find(name);
  if (!config.tied_embeddings) {
    config.missing_head = head == nullptr ? name : "";
    return;
  }
  const WeightRow& first = family.weights.front();
  const io::TensorInfo* embedding = checkpoint.find(find(gguf ? first.gguf : first.hugging_face, false));
  if (head == nullptr || embedding == nullptr) return;
  // What is computed from several tensors is not compared: a head's own numbers are right either way.
  const auto derived = [](const io::TensorInfo& info) { return io::find_encoding(info.encoding) == nullptr; };
  const bool known = !derived(*head) && !derived(*embedding);
  if (known && same_values(checkpoint, *head, *embedding)) return;
  config.tied_embeddings = false;
  if (!known) return;
  warn("{}: '{}' is stored and differs from '{}', though by 'tie_word_embeddings' they are one; it is used",
       printable(checkpoint.path().string()), printable(head->name), printable(embedding->name));
}

WeightMap::WeightMap(const Family& family, const Config& config, const io::Checkpoint& checkpoint) {
  const bool gguf = checkpoint.format() == io::Format::gguf;
  const std::string prefix = gguf ? "" : find_prefix(family, checkpoint);
  std::vector<std::string> missing, unknown, misshapen;
  std::unordered_set<std::string> known;

  const auto head_name = [&](const char* suffix) {
    const WeightRow* row = find_row(family, "head");
    if (row == nullptr) return std::string();
    const std::string name = std::string(gguf ? row->gguf : row->hugging_face) + suffix;
    return gguf ? name : find_name(name, prefix, true, checkpoint);
  };
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
      std::string stored = gguf ? name : find_name(name, prefix, row.may_be_stored, checkpoint);
      if (&row == &family.weights.front() && config.tied_embeddings && checkpoint.find(stored) == nullptr) {
        // The one matrix may be stored as the head.
        const std::string head = head_name(suffix);
        if (checkpoint.find(head) != nullptr) stored = head;
      }
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
    const bool whole = row.when == nullptr || row.when(config);
    if (!whole && !row.may_be_stored) return;
    const std::vector<int64_t> shape = resolve_shape(row.shape, config);
    if (whole) {
      add_tensor(row, layer, ".weight", shape);
    } else {
      known.insert(head_name(".weight"));
    }
    if (row.bias != nullptr && row.bias(config) && (whole || has_head(config))) {
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
