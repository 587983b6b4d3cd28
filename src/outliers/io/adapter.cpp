#include "outliers/io/adapter.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <set>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/core/warning.h"
#include "outliers/io/adapter_contents.h"
#include "outliers/io/derived.h"
#include "outliers/io/lora_config.h"
#include "outliers/io/safetensors.h"
#include "outliers/io/shard_name.h"
#include "outliers/io/torch_file.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

/// One tensor of the result: the base's or the adapter's own in its place, and what is added to it.
struct Change {
  const Checkpoint* from = nullptr;  ///< of `source`: the base, or the adapter
  const TensorInfo* source = nullptr;
  std::shared_ptr<const Checkpoint> adapter;
  const TensorInfo *a = nullptr, *b = nullptr, *magnitude = nullptr, *tokens = nullptr;
  double scaling = 0;
  bool transposed = false;  ///< stored [in, out], so that A' B' is added
  std::vector<int64_t> indices;

  static at::ScalarType wide(bool as_double) { return as_double ? at::kDouble : at::kFloat; }

  at::Tensor rows(int64_t begin, int64_t end, bool as_double) const {
    at::Tensor w = sum(begin, end, as_double);
    if (magnitude != nullptr) {
      const at::Tensor m = adapter->load(magnitude->name, wide(as_double)).view(-1);
      w = transposed ? w * (m / column_norms(as_double))
                     : w * (m.narrow(0, begin, end - begin) / norms(w, 1).to(w.dtype())).unsqueeze(1);
    }
    if (tokens != nullptr) {
      const at::Tensor values = adapter->load(tokens->name, wide(as_double));
      w = w.clone();
      for (size_t i = 0; i < indices.size(); ++i) {
        if (indices[i] >= begin && indices[i] < end)
          w[indices[i] - begin].copy_(values[static_cast<int64_t>(i)]);
      }
    }
    return w;
  }

 private:
  at::Tensor sum(int64_t begin, int64_t end, bool as_double) const {
    const at::ScalarType dtype = wide(as_double);
    if (source->shape.size() < 2) {  // a bias, and B's
      const at::Tensor bias = from->load(source->name, dtype);
      return b == nullptr ? bias : bias + adapter->load(b->name, dtype) * scaling;
    }
    const at::Tensor base = from->load_row_range(source->name, begin, end, dtype);
    if (a == nullptr) return base;
    const at::Tensor matrix_a = adapter->load(a->name, dtype), matrix_b = adapter->load(b->name, dtype);
    const at::Tensor delta = transposed ? at::mm(matrix_a.narrow(1, begin, end - begin).t(), matrix_b.t())
                                        : at::mm(matrix_b.narrow(0, begin, end - begin), matrix_a);
    return base + delta * scaling;
  }

  static at::Tensor norms(const at::Tensor& w, int64_t dimension) {
    return w.to(at::kDouble).square().sum(dimension).sqrt();
  }

  /// DoRA's norms are over all that leads to one output, which in a transposed matrix is a column.
  at::Tensor column_norms(bool as_double) const {
    const std::lock_guard lock(*mutex);
    at::Tensor& known = (*columns)[as_double ? 1 : 0];
    if (known.defined()) return known;
    constexpr int64_t kRows = 8192;
    at::Tensor squares = at::zeros({source->shape[1]}, at::kDouble);
    for (int64_t begin = 0; begin < source->shape[0]; begin += kRows) {
      const at::Tensor w = sum(begin, std::min(begin + kRows, source->shape[0]), as_double);
      squares += w.to(at::kDouble).square().sum(0);
    }
    return known = squares.sqrt().to(wide(as_double));
  }

  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
  std::shared_ptr<std::array<at::Tensor, 2>> columns = std::make_shared<std::array<at::Tensor, 2>>();
};

/// The base's tensor for an adapter's name: PEFT sees the model's modules, a checkpoint may lack the
/// outermost
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

/// Puts together what an adapter does to each tensor, and what does not fit.
class Merger {
 public:
  Merger(const Checkpoint& base, std::shared_ptr<const Checkpoint> adapter, const LoraConfig& config,
         const AdapterBase& layout)
      : base_(base),
        adapter_(std::move(adapter)),
        config_(config),
        layout_(layout),
        contents_(*adapter_, base) {
    require(contents_.adapters.size() <= 1, "{} holds {} adapters ({}); save one by itself",
            printable(adapter_->path().string(), 4096), contents_.adapters.size(),
            fmt::join(contents_.adapters, ", "));
    for (const std::string& name : contents_.unknown)
      problems_.push_back(fmt::format("{} is not known", printable(name)));
    // The embedding's own before what a matrix that is tied to it repeats.
    for (const bool heads : {false, true}) {
      for (const auto& [name, info] : contents_.plain) {
        if (is_tied_head(name) == heads) replace(name, *info, config_.is_saved(module_of(name)));
      }
      for (const auto& [name, module] : contents_.modules) {
        for (const auto& [part, info] : module.base) {
          if (is_tied_head(name + "." + part) == heads) replace(name + "." + part, *info, false);
        }
      }
    }
    for (const auto& [name, module] : contents_.modules) add(name, module);
    part_from_embedding();
    if (!excluded_.empty()) {
      warn("{}: the adapter's options exclude {}, whose tensors are ignored, as PEFT does",
           printable(adapter_->path().string(), 4096), names_in_words(excluded_));
    }
  }

  std::vector<DerivedTensor> take() {
    constexpr size_t kShown = 8;
    const size_t count = problems_.size();
    if (count > kShown) {
      problems_.resize(kShown);
      problems_.emplace_back("...");
    }
    const std::string where = printable(adapter_->path().string(), 4096);
    require(count == 0, "{}: {} of its tensors do not fit the model: {}", where, count,
            fmt::join(problems_, "; "));
    require(!changes_.empty(), "{} holds no tensors that change the model", where);
    std::vector<DerivedTensor> derived;
    for (auto& [name, change] : changes_) {
      const TensorInfo* stored = base_.find(name);
      DerivedTensor w;
      w.beside = stored == nullptr;
      if (stored == nullptr) stored = base_.find(layout_.embedding);
      const bool computed = change.a != nullptr || change.b != nullptr || change.tokens != nullptr;
      w.info = {name, stored->shape, change.source->encoding + (computed ? " + LoRA" : "")};
      if (change.from != &base_ && !computed) w.info.encoding += " of the adapter";
      w.sources = {stored->name};
      w.native = change.from->native_dtype(change.source->name);
      w.rows = [change = change](int64_t begin, int64_t end, bool as_double) {
        return change.rows(begin, end, as_double);
      };
      derived.push_back(std::move(w));
    }
    return derived;
  }

 private:
  static std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

  bool is_tied_head(const std::string& tensor) const {
    return !layout_.tied_head.empty() &&
           (tensor == layout_.tied_head || tensor.ends_with("." + module_of(layout_.tied_head) + ".weight"));
  }

  /// The change of the tensor that a name means; nullptr, and a problem, where there is none.
  Change* change_of(const std::string& name) {
    const bool head = is_tied_head(name) && find_in(base_, name) == nullptr;
    const TensorInfo* target = head ? base_.find(layout_.embedding) : find_in(base_, name);
    if (target == nullptr) {
      problems_.push_back(fmt::format("{} is no tensor of the model", printable(name)));
      return nullptr;
    }
    const auto [place, fresh] = changes_.try_emplace(head ? layout_.tied_head : target->name);
    if (fresh) {
      place->second.from = &base_;
      place->second.source = target;
      place->second.adapter = adapter_;
    }
    return &place->second;
  }

  /// A tensor of the adapter's own: of modules_to_save, a trained bias, or a base's weight that was saved
  /// along. Of a tied matrix the last of these is the embedding's too.
  void replace(const std::string& name, const TensorInfo& info, bool saved) {
    const bool head = is_tied_head(name) && find_in(base_, name) == nullptr;
    if (head && (config_.ties_weights() || (!saved && replaced_.count(layout_.embedding) != 0))) return;
    const std::string target = head && !saved ? layout_.embedding : name;
    Change* change = change_of(target);
    if (change == nullptr) return;
    if (change->from != &base_) {
      problems_.push_back(fmt::format("{} occurs twice", printable(name)));
      return;
    }
    if (change->source->shape != info.shape) {
      problems_.push_back(fmt::format("{} is {}, in the adapter {}", printable(change->source->name),
                                      shape_string(change->source->shape), shape_string(info.shape)));
      return;
    }
    const std::string& key = head && saved ? layout_.tied_head : change->source->name;
    replaced_.insert(key);
    if (saved) own_.insert(key);
    change->from = adapter_.get();
    change->source = &info;
  }

  void add(const std::string& name, const AdapterModule& module) {
    const bool lora = module.a != nullptr || module.b != nullptr || module.bias_of_b != nullptr ||
                      module.magnitude != nullptr;
    if (!lora && module.tokens == nullptr) return;
    const std::string tensor = name + ".weight";
    if (is_tied_head(tensor) && find_in(base_, tensor) == nullptr && config_.ties_weights()) return;
    if (module.tokens != nullptr) add_tokens(name, module);
    if (!lora) return;
    if (!config_.is_target(name)) {
      excluded_.push_back(name);
      return;
    }
    if (module.a == nullptr || module.b == nullptr) {
      problems_.push_back(fmt::format("{} has no lora_{}", printable(name), module.a == nullptr ? "A" : "B"));
      return;
    }
    if ((module.magnitude != nullptr) != config_.dora()) {
      problems_.push_back(fmt::format("{} has {} lora_magnitude_vector, but 'use_dora' is {}",
                                      printable(name), config_.dora() ? "no" : "a", config_.dora()));
      return;
    }
    if ((module.bias_of_b != nullptr) != (config_.bias_of_b() && !module.embedding)) {
      problems_.push_back(fmt::format("{} has {} lora_B.bias, but 'lora_bias' is {}", printable(name),
                                      config_.bias_of_b() ? "no" : "a", config_.bias_of_b()));
      return;
    }
    add_lora(name, module);
  }

  void add_lora(const std::string& name, const AdapterModule& module) {
    Change* const change = change_of(name + ".weight");
    if (change == nullptr) return;
    if (change->a != nullptr) {
      problems_.push_back(fmt::format("{} occurs twice", printable(name)));
      return;
    }
    const int64_t rank = config_.rank(name);
    const auto &a = module.a->shape, &b = module.b->shape, &target = change->source->shape;
    if (a.size() != 2 || b.size() != 2 || a[0] != rank || b[1] != rank) {
      problems_.push_back(fmt::format("{} has A {} and B {}, which are not of rank {}", printable(name),
                                      shape_string(a), shape_string(b), rank));
      return;
    }
    // A Linear's weight is [out, in]; a Conv1D's and an embedding's are the other way round.
    const std::vector<int64_t> plain = {b[0], a[1]}, turned = {a[1], b[0]};
    const bool square_turned = target == turned && layout_.transposed.value_or(config_.fan_in_fan_out());
    const bool transposed = module.embedding || target != plain || square_turned;
    if (target != (transposed ? turned : plain)) {
      problems_.push_back(fmt::format("{} is {}, and the adapter's B A {}", printable(change->source->name),
                                      shape_string(target), shape_string(plain)));
      return;
    }
    if (module.magnitude != nullptr && module.magnitude->elements() != b[0]) {
      problems_.push_back(fmt::format("{} has a lora_magnitude_vector of {} elements, wanted {}",
                                      printable(name), module.magnitude->elements(), b[0]));
      return;
    }
    change->a = module.a;
    change->b = module.b;
    change->magnitude = module.magnitude;
    change->scaling = config_.scaling(name);
    change->transposed = transposed;
    if (module.bias_of_b == nullptr) return;
    Change* const bias = change_of(name + ".bias");
    if (bias == nullptr) return;
    if (bias->source->shape != module.bias_of_b->shape) {
      problems_.push_back(fmt::format("{} is {}, and the adapter's bias {}", printable(bias->source->name),
                                      shape_string(bias->source->shape),
                                      shape_string(module.bias_of_b->shape)));
      return;
    }
    bias->b = module.bias_of_b;
    bias->scaling = change->scaling;
  }

  void add_tokens(const std::string& name, const AdapterModule& module) {
    Change* const change = change_of(name + ".weight");
    if (change == nullptr) return;
    const std::vector<int64_t>* indices = config_.token_indices(name);
    const auto &target = change->source->shape, &values = module.tokens->shape;
    const bool fits = indices != nullptr && target.size() == 2 && values.size() == 2 &&
                      values[1] == target[1] && values[0] == static_cast<int64_t>(indices->size()) &&
                      std::all_of(indices->begin(), indices->end(), [&](int64_t i) { return i < target[0]; });
    if (!fits) {
      problems_.push_back(
          fmt::format("{} is {}, and its trained tokens are {} of {} 'trainable_token_indices'",
                      printable(change->source->name), shape_string(target), shape_string(values),
                      indices == nullptr ? 0 : indices->size()));
      return;
    }
    change->tokens = module.tokens;
    change->indices = *indices;
  }

  /// Where the embedding alone is adapted, a matrix that was tied to it stays the base's: so PEFT's model
  /// computes unless ensure_weight_tying is on. Trained tokens stay tied.
  void part_from_embedding() {
    if (layout_.tied_head.empty() || config_.ties_weights()) return;
    const auto embedding = changes_.find(layout_.embedding);
    if (embedding == changes_.end()) return;
    const bool own = own_.count(layout_.embedding) != 0;
    if (embedding->second.a == nullptr && !own) return;
    const auto [head, fresh] = changes_.try_emplace(layout_.tied_head);
    if (!fresh && head->second.from != &base_) return;
    if (fresh) head->second.adapter = adapter_;
    head->second.from = own ? &base_ : embedding->second.from;
    head->second.source = own ? base_.find(layout_.embedding) : embedding->second.source;
  }

  const Checkpoint& base_;
  const std::shared_ptr<const Checkpoint> adapter_;
  const LoraConfig& config_;
  const AdapterBase& layout_;
  const AdapterContents contents_;
  std::map<std::string, Change> changes_;  // by the base's name
  std::set<std::string> replaced_, own_;   // names of tensors; own_: of modules_to_save
  std::vector<std::string> problems_, excluded_;
};

/// The adapter's file, or its shards.
std::shared_ptr<const Checkpoint> open_tensors(const fs::path& directory) {
  const fs::path safetensors = directory / "adapter_model.safetensors",
                 pickled = directory / "adapter_model.bin";
  const fs::path index = directory / "adapter_model.safetensors.index.json";
  if (fs::exists(safetensors)) return open_safetensors({safetensors});
  if (fs::exists(index)) return open_safetensors_index(index);
  require(fs::exists(pickled), not_read(ENOENT),
          "{} holds no LoRA adapter: there is no adapter_model.safetensors or adapter_model.bin",
          printable(directory.string(), 4096));
  return open_torch({pickled});
}

}  // namespace

std::unique_ptr<Checkpoint> adapted(std::unique_ptr<Checkpoint> checkpoint, const fs::path& directory,
                                    const AdapterBase& base) {
  const fs::path file = directory / "adapter_config.json";
  std::error_code unreadable;
  require(fs::exists(file, unreadable), not_read(ENOENT),
          "{} holds no LoRA adapter: there is no adapter_config.json", printable(directory.string(), 4096));
  const LoraConfig config(file);
  require(checkpoint->format() != Format::gguf, kUnsupported,
          "{}: adapters are merged into Hugging Face checkpoints; the names and the order of a GGUF's "
          "weights are others",
          printable(checkpoint->path().string(), 4096));
  Merger merger(*checkpoint, open_tensors(directory), config, base);
  std::vector<DerivedTensor> derived = merger.take();
  return std::make_unique<DerivedCheckpoint>(std::move(checkpoint), std::move(derived));
}

}  // namespace outliers::io
