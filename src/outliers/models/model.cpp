#include "outliers/models/model.h"

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/io/hub.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/files.h"
#include "outliers/models/tokenizer_source.h"

namespace outliers::models {

namespace {

Described describe(const io::Checkpoint& checkpoint) {
  if (checkpoint.metadata() != nullptr) return describe_gguf(checkpoint);
  const std::filesystem::path file = checkpoint.directory() / "config.json";
  require(std::filesystem::exists(file), "{}: there is no config.json beside the weights",
          printable(checkpoint.directory().string()));
  return describe_hugging_face(read_text_file(file), printable(file.string()));
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

}  // namespace

Model::Model(Config config, std::unique_ptr<io::Checkpoint> checkpoint, WeightMap weights)
    : config_(std::move(config)), checkpoint_(std::move(checkpoint)), weights_(std::move(weights)) {}

std::unique_ptr<Model> Model::open(const std::filesystem::path& path) {
  std::unique_ptr<io::Checkpoint> checkpoint = io::Checkpoint::open(path);
  Described described = describe(*checkpoint);
  if (described.config.name.empty()) described.config.name = io::hub_name_of(path);
  if (described.config.name.empty()) described.config.name = name_of_path(path);
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
  require(tokenizer != nullptr, "{}: the checkpoint has no tokenizer ({}); give token ids instead of text",
          printable(checkpoint_->path().string()),
          checkpoint_->metadata() != nullptr ? "no tokenizer.ggml.tokens in its metadata"
                                             : "no tokenizer.json, tokenizer.model, or vocab.json with merges.txt beside the weights");
  return *tokenizer;
}

int64_t Model::parameters() const {
  int64_t total = 0;
  for (const StoredWeight& weight : weights_.all()) total += checkpoint_->find(weight.stored)->elements();
  return total;
}

at::Tensor Model::load(const std::string& name, at::ScalarType dtype) const {
  const StoredWeight* weight = weights_.find(name);
  TORCH_INTERNAL_ASSERT(weight != nullptr, "the model has no weight ", name);
  const at::Tensor stored = checkpoint_->load(weight->stored, dtype);
  return weight->transform == Transform::unpermute ? unpermute(stored, config_.head_width) : stored;
}

const StoredWeight& Model::head() const {
  return *weights_.find(config_.tied_embeddings ? "embedding.weight" : "head.weight");
}

}  // namespace outliers::models
