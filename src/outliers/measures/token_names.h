// What results call a token, and which class it is of: by a tokenizer, or by its place in an image.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "outliers/models/config.h"
#include "outliers/models/patch_grid.h"
#include "outliers/text/tokenizer.h"

namespace outliers::measures {

class TokenNames {
 public:
  virtual ~TokenNames() = default;
  /// What a reader sees of token `id`.
  virtual std::string text(int64_t id) const = 0;
  /// Its class at `position` of its sequence.
  virtual const char* kind(int64_t id, int64_t position) const = 0;

  struct Name {
    std::string text, kind;
  };
  /// Of one token of a sequence; ids int64 [N,T].
  Name name(const at::Tensor& ids, int64_t sequence, int64_t token) const;
};

/// Pieces of text; classes of text/token_class.h.
class TextNames : public TokenNames {
 public:
  explicit TextNames(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string text(int64_t id) const override;
  const char* kind(int64_t id, int64_t position) const override;

 private:
  const text::Tokenizer& tokenizer_;
};

/// Classes of the tokens of an image.
inline constexpr std::array kImageClasses = {"cls", "register", "patch"};

/// The tokens of an image by their numbers: "[CLS]", "[REG0]", and "r3c7" for the patch in row 3, column 7.
/// Classes: those of kImageClasses.
class PatchNames : public TokenNames {
 public:
  PatchNames(const models::Config& config, models::PatchGrid grid)
      : registers_(config.vision.registers), columns_(grid.columns) {}
  std::string text(int64_t id) const override;
  const char* kind(int64_t id, int64_t position) const override;
  bool is_patch(int64_t id) const { return id > registers_; }

 private:
  int64_t registers_, columns_;
};

}  // namespace outliers::measures
