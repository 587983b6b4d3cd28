// A checkpoint understood as a transformer: its traits (what the blocks compute), its sizes, its weights by
// our own names, and its tokenizer. Families differ in data only: models/families.h has a row for each.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/io/checkpoint.h"
#include "outliers/models/config.h"
#include "outliers/models/weights.h"
#include "outliers/text/tokenizer.h"

namespace outliers::models {

/// Immutable once open, and safe to read from many threads.
class Model {
 public:
  /// Opens a GGUF file, a safetensors file with its config.json beside it, or a directory of them; names its
  /// family and checks every tensor's presence and shape (all problems in one Error). Reads no weights.
  /// `adapter` is the directory of a LoRA adapter to merge in (io/adapter.h), "" for none.
  static std::unique_ptr<Model> open(const std::filesystem::path& path,
                                     const std::filesystem::path& adapter = {});

  const Config& config() const { return config_; }
  const io::Checkpoint& checkpoint() const { return *checkpoint_; }
  const WeightMap& weights() const { return weights_; }
  /// Loads the tokenizer on first use; throws when the checkpoint has none.
  const text::Tokenizer& tokenizer() const;
  /// nullptr when the checkpoint has no tokenizer; throws for a damaged one.
  const text::Tokenizer* try_tokenizer() const;
  int64_t parameters() const;  ///< elements of all tensors, tied ones once

  bool has(const std::string& name) const { return weights_.find(name) != nullptr; }
  /// A weight by our name ("layer.3.q.weight", "embedding.weight"), in Hugging Face's orientation and order
  /// of rows, [out, in] for projections (a view of [in, out] where that is stored). The model must have it.
  at::Tensor load(const std::string& name, at::ScalarType dtype) const;
  /// One expert's part of such a weight ("layer.3.experts.up.weight"), reading nothing else.
  at::Tensor load_expert(const std::string& name, int64_t expert, at::ScalarType dtype) const;
  /// The matrix that gives the logits, [V, D]: "head.weight", or the embedding where they are tied. The model
  /// must have one (has_head).
  const StoredWeight& head() const;

 private:
  Model(Config config, std::unique_ptr<io::Checkpoint> checkpoint, WeightMap weights);

  Config config_;
  std::unique_ptr<io::Checkpoint> checkpoint_;
  WeightMap weights_;
  mutable std::once_flag tokenizer_once_;
  mutable std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace outliers::models
