#include "outliers/models/model.h"

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"
#include "outliers/io/adapter.h"
#include "outliers/io/hub.h"
#include "outliers/io/quantized.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/tokenizer_source.h"

namespace outliers::models {

namespace {

Described describe(const io::Checkpoint& checkpoint) {
  if (checkpoint.metadata() != nullptr) return describe_gguf(checkpoint);
  const std::filesystem::path file = checkpoint.directory() / "config.json";
  // What cannot be looked at is read, so that the reason is said.
  std::error_code code;
  require(
      std::filesystem::exists(file, code) || code, not_read(ENOENT),
      "{}: there is no config.json beside it, which a {} checkpoint needs; take it from the model's folder",
      printable(checkpoint.path().string(), 4096),
      checkpoint.format() == io::Format::pytorch ? "PyTorch" : "safetensors");
  const std::string text = read_own(file);
  return describe_hugging_face(text, printable(file.string()));
}

std::string name_of_path(const std::filesystem::path& path) {
  const std::filesystem::path clean = std::filesystem::absolute(path).lexically_normal();
  const std::filesystem::path last = clean.has_filename() ? clean : clean.parent_path();
  return std::filesystem::is_directory(last) ? last.filename().string() : last.stem().string();
}

/// Rows of each head from interleaved pairs (0, w/2), (1, w/2 + 1), ... to two halves.
at::Tensor unpermute(const at::Tensor& weight, int64_t head_width) {
  const int64_t rows = weight.size(0);
  return weight.reshape({rows / head_width, head_width / 2, 2, -1}).transpose(1, 2).reshape(weight.sizes());
}

/// Rows by key head, each with its H / Hk queries, its key and its value -> all queries, all keys, all
/// values.
at::Tensor ungroup_qkv(const at::Tensor& weight, const Config& c) {
  const int64_t group = c.heads / c.kv_heads, columns = weight.dim() == 2 ? weight.size(1) : 1;
  if (c.kv_heads == 1) return weight;
  const at::Tensor rows = weight.view({c.kv_heads, group + 2, c.head_width, columns});
  const auto part = [&](int64_t begin, int64_t heads) {
    return rows.narrow(1, begin, heads).reshape({-1, columns});
  };
  return at::cat({part(0, group), part(group, 1), part(group + 1, 1)}).view(weight.sizes());
}

at::Tensor transformed(const at::Tensor& weight, Transform transform, const Config& config) {
  switch (transform) {
    case Transform::none:
    case Transform::flatten:
      break;
    case Transform::unpermute:
      return unpermute(weight, config.head_width);
    case Transform::transpose:
      return weight.transpose(-1, -2);
    case Transform::ungroup_qkv:
      return ungroup_qkv(weight, config);
  }
  return weight;
}

}  // namespace

Model::Model(Config config, std::unique_ptr<io::Checkpoint> checkpoint, WeightMap weights)
    : config_(std::move(config)), checkpoint_(std::move(checkpoint)), weights_(std::move(weights)) {}

std::unique_ptr<Model> Model::open(const std::filesystem::path& path, const std::filesystem::path& adapter) {
  std::unique_ptr<io::Checkpoint> checkpoint = io::Checkpoint::open(path);
  Described described = describe(*checkpoint);
  if (described.config.name.empty()) described.config.name = io::hub_name_of(path);
  if (described.config.name.empty()) described.config.name = name_of_path(path);
  if (!described.quantization.empty()) {
    const std::string where = printable((checkpoint->directory() / "config.json").string());
    checkpoint = io::dequantized(std::move(checkpoint), described.quantization, where);
  }
  if (!adapter.empty()) {
    const io::AdapterBase base = adapter_base(*described.family, described.config, *checkpoint);
    checkpoint = io::adapted(std::move(checkpoint), adapter, base);
    if (checkpoint->find(base.tied_head) != nullptr) described.config.tied_embeddings = false;
    described.config.name += " + " + name_of_path(adapter);
  }
  set_expert_storage(described.config, *checkpoint);
  settle_head(*described.family, described.config, *checkpoint);
  WeightMap weights(*described.family, described.config, *checkpoint);
  return std::unique_ptr<Model>(
      new Model(std::move(described.config), std::move(checkpoint), std::move(weights)));
}

const text::Tokenizer* Model::try_tokenizer() const {
  std::call_once(tokenizer_once_, [this] { tokenizer_ = load_tokenizer(*checkpoint_); });
  return tokenizer_.get();
}

const text::Tokenizer& Model::tokenizer() const {
  const text::Tokenizer* tokenizer = try_tokenizer();
  require(tokenizer != nullptr, kArgument,
          "{}: the checkpoint has no tokenizer ({}); give token ids instead of text",
          printable(checkpoint_->path().string()),
          checkpoint_->metadata() != nullptr
              ? "no tokenizer.ggml.tokens in its metadata"
              : "no tokenizer.json, tokenizer.model, or vocab.json with merges.txt beside the weights");
  return *tokenizer;
}

int64_t Model::parameters() const {
  int64_t total = 0;
  for (const StoredWeight& weight : weights_.all()) {
    total += c10::multiply_integers(weight.shape);
  }
  return total;
}

at::Tensor Model::load(const std::string& name, at::ScalarType dtype) const {
  const StoredWeight* weight = weights_.find(name);
  TORCH_INTERNAL_ASSERT(weight != nullptr, "the model has no weight ", name);
  if (weight->of_experts) {
    std::vector<at::Tensor> experts;
    for (int64_t e = 0; e < weight->shape.front(); ++e) experts.push_back(load_expert(name, e, dtype));
    return at::stack(experts);
  }
  if (weight->stored.size() == 1) {
    // One part of one row may be stored without its first dimension.
    return transformed(checkpoint_->load(weight->stored.front(), dtype), weight->transform, config_)
        .view(weight->shape);
  }
  std::vector<at::Tensor> parts;
  for (const std::string& stored : weight->stored) parts.push_back(checkpoint_->load(stored, dtype));
  return at::stack(parts);
}

at::Tensor Model::load_expert(const std::string& name, int64_t expert, at::ScalarType dtype) const {
  const StoredWeight& weight = *weights_.find(name);
  const bool apart = weight.stored.size() > 1;
  const std::string& stored = weight.stored[apart ? static_cast<size_t>(expert) : 0];
  const bool alone = apart || checkpoint_->find(stored)->shape.size() < weight.shape.size();
  const at::Tensor part = alone ? checkpoint_->load(stored, dtype)
                                : checkpoint_->load_row_range(stored, expert, expert + 1, dtype).squeeze(0);
  return transformed(part, weight.transform, config_);
}

const StoredWeight& Model::head() const {
  return *weights_.find(config_.tied_embeddings ? "embedding.weight" : "head.weight");
}

}  // namespace outliers::models
