// What turns a piece of text into ids: BPE (bpe.h) or Unigram (unigram.h), behind one interface.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "outliers/text/pre_tokenizer.h"
#include "outliers/text/vocabulary.h"

namespace outliers::text {

class Model {
 public:
  /// What one thread works with; reusable.
  class Scratch {
   public:
    virtual ~Scratch() = default;
  };

  explicit Model(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~Model() = default;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  virtual const char* name() const = 0;  ///< "BPE", "Unigram"
  virtual std::optional<int32_t> unknown() const = 0;

  virtual std::unique_ptr<Scratch> make_scratch() const = 0;
  /// Appends the ids of pieces.spans[first] to spans[last - 1]. A scratch must always see pieces of the same
  /// `raw_bytes`.
  virtual void encode(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
                      std::vector<int32_t>& ids) const = 0;

 protected:
  Vocabulary vocabulary_;
};

}  // namespace outliers::text
