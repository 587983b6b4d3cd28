// Checkpoints as files: what one is, and another form of it. They need no session, for nothing is run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "outliers/api/model.h"
#include "outliers/core/exception.h"
#include "outliers/core/export.h"
#include "outliers/models/export.h"

namespace outliers {

/// What a checkpoint is: family, sizes, traits, tokenizer, encodings, tensors.
class OUTLIERS_API Inspection {
 public:
  ~Inspection();
  Inspection(Inspection&&) noexcept;

  /// Why it is no model that can be run; its encodings and tensors are listed all the same. Nothing for a
  /// model.
  const std::optional<Error>& problem() const;
  /// Lines and tables of at most `columns` (0: any number).
  std::string text(size_t columns = 0) const;
  /// The same as JSON, indented. Bytes of names that are no UTF-8 become U+FFFD.
  std::string json() const;

 private:
  friend OUTLIERS_API Inspection inspect(const std::string& source, const OpenOptions& options);
  struct State;
  explicit Inspection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// `source` as for fetch(). Throws for what is no checkpoint at all.
OUTLIERS_API Inspection inspect(const std::string& source, const OpenOptions& options = {});

struct ExportOptions {
  OpenOptions open;
  models::ExportOptions files;  ///< dtype and size of shards
  bool replace = false;         ///< a directory that an export has made, or that is empty
};

/// Writes a checkpoint as a directory that transformers loads: safetensors, config.json, and the tokenizer's
/// or the image processor's files where they are beside the weights. The place is taken before `source` is
/// opened, which may have to be fetched. Throws ErrorKind::output for a place that is taken or full,
/// unsupported for a GGUF of a family that cannot be written so, argument for values that the dtype cannot
/// hold.
OUTLIERS_API models::Exported export_model(const std::string& source, const std::filesystem::path& directory,
                                           const ExportOptions& options = {});
/// "272 tensors, 269 MB in 1 file, config.json, the tokenizer's files".
OUTLIERS_API std::string export_text(const models::Exported& exported);

}  // namespace outliers
