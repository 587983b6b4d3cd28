// A model to run, from a file, a directory or the Hub, and what it can be given.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/io/checkpoint.h"
#include "outliers/models/config.h"
#include "outliers/run/input.h"
#include "outliers/text/tokenizer.h"

namespace outliers {

namespace models {
class Model;
}

struct OpenOptions {
  std::string revision;           ///< branch, tag or commit of a name on the Hub; "": main
  std::string file;               ///< the file of it to take, where there are several; "": the one there is
  std::filesystem::path adapter;  ///< PEFT's folder of a LoRA adapter to merge in; "": none
};

inline constexpr int64_t kDefaultSequences = 4;

/// Windows that are cut from a corpus.
struct WindowOptions {
  int64_t sequences = kDefaultSequences;
  int64_t tokens = 1024;   ///< of each, a BOS counted
  std::string text_field;  ///< of JSON lines; "": "text", else "content"
  text::BosPolicy bos = text::BosPolicy::model;
  uint64_t seed = 0;  ///< 0: from the start of the corpus, one after the other; else from random places
};

/// Where a file, a directory or a name on the Hub (ORG/NAME[@REVISION][:FILE]) is on this machine; what is
/// missing of a name is fetched into Hugging Face's cache. A path that exists is itself.
OUTLIERS_API std::filesystem::path fetch(const std::string& source, const std::string& revision = {},
                                         const std::string& file = {});

/// The files of a data set on the Hub, hf://datasets/OWNER/NAME[@REVISION]/FILE, where FILE may have
/// wildcards (`*`, `?`, `**`): fetched into Hugging Face's cache as far as they are missing, in the order of
/// their names. A corpus may be named so, too, and is all of them.
OUTLIERS_API std::vector<std::filesystem::path> fetch_data_set(const std::string& address);

/// The tokenizer of a GGUF, a directory, a tokenizer.json or a SentencePiece model, whether or not there are
/// weights beside it.
OUTLIERS_API std::unique_ptr<text::Tokenizer> open_tokenizer(const std::filesystem::path& path);

/// Immutable once open, and safe to read from many threads.
class OUTLIERS_API Model {
 public:
  /// `source` as for fetch(). Checks the presence and shape of every tensor, and reads no weights.
  static Model open(const std::string& source, const OpenOptions& options = {});
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const models::Config& config() const;       ///< traits and sizes
  bool reads_images() const;                  ///< whether it is given images(), not text
  const io::Checkpoint& checkpoint() const;   ///< tensors by the names of the files
  const text::Tokenizer& tokenizer() const;   ///< throws where there is none
  int64_t parameters() const;                 ///< elements of all tensors, tied ones once
  bool has(const std::string& weight) const;  ///< whether weight() has it
  /// A weight by our name ("layer.3.q.weight", "embedding.weight"), in Hugging Face's orientation, [out, in]
  /// for projections; on the CPU.
  at::Tensor weight(const std::string& name, at::ScalarType dtype = at::kFloat) const;

  /// One sequence of a text's tokens.
  run::Input text(const std::string& text, text::BosPolicy bos = text::BosPolicy::model) const;
  /// One sequence of token ids.
  run::Input ids(const std::vector<int64_t>& ids) const;
  /// Windows of a corpus: a text or JSON lines, also compressed; "": the one that comes along.
  run::Input windows(const std::filesystem::path& corpus, const WindowOptions& options = {}) const;
  /// PNG, JPEG or .npy files, or folders of them, for models of images; at most `limit`.
  run::Input images(const std::vector<std::filesystem::path>& paths, int64_t limit = 64) const;

 private:
  friend class Session;
  explicit Model(std::unique_ptr<models::Model> model);
  std::unique_ptr<models::Model> model_;
};

}  // namespace outliers
