// A checkpoint understood as a transformer: its traits (what the blocks compute), its sizes, its weights by
// our own names, and its tokenizer. Families differ in data only: models/families.h has a row for each.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/io/checkpoint.h"
#include "outliers/models/config.h"

namespace outliers::text {
class Tokenizer;  // text/tokenizer.h
}

namespace outliers::models {

/// Opens a checkpoint, names its family, checks every tensor's presence and shape (all problems in one
/// Error).
class Model {
 public:
  static std::unique_ptr<Model> open(const std::filesystem::path& path);
  virtual ~Model() = default;

  const Config& config() const { return config_; }
  const io::Checkpoint& checkpoint() const { return *checkpoint_; }
  /// Loads the tokenizer on first use; throws when the checkpoint has none.
  const text::Tokenizer& tokenizer() const;
  /// nullptr when the checkpoint has no tokenizer.
  const text::Tokenizer* try_tokenizer() const;
  int64_t parameters() const;  ///< elements of all tensors, tied ones once

 protected:
  Config config_;
  std::unique_ptr<io::Checkpoint> checkpoint_;
  mutable std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace outliers::models
