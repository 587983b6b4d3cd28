// The BPE model: one piece of text -> ids, by the merge order and the quirks of Hugging Face `tokenizers`.
// Merges are either listed (byte-level BPE, tokenizer.json) or implied by the vocabulary's scores
// (SentencePiece): then a pair may merge if its concatenation is a token, the best score first, which is the
// list transformers' converter would write (checked against Gemma's: all 514,906 merges in the same order).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/flat_map.h"

namespace outliers::text {

/// Token spellings by id, in one arena. Ids without a spelling hold "".
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// `size` ids, `bytes` of text in all; then set() each, then index().
  void reserve(size_t size, size_t bytes);
  void set(int32_t id, std::string_view piece);
  /// Builds the look-up table of the ids that were set; of equal spellings the last id wins.
  void index();

  int32_t find(std::string_view piece) const { return index_.find(pieces_, piece); }
  std::string_view piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  size_t size() const { return pieces_.size(); }     ///< largest id + 1
  size_t count() const { return count_; }            ///< ids that have a spelling
  size_t longest_bytes() const { return longest_; }  ///< of a spelling
  const std::vector<std::string_view>& pieces() const { return pieces_; }

 private:
  std::vector<char> arena_;
  size_t used_ = 0, longest_ = 0, count_ = 0;
  std::vector<std::string_view> pieces_;
  std::vector<bool> set_;
  StringIndex index_;
};

struct BpeOptions {
  std::optional<int32_t> unknown;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;     ///< a piece that is a token stays whole
  std::string continuing_prefix;  ///< before every character but a piece's first ("##")
  std::string end_suffix;         ///< behind a piece's last character ("</w>")
};

class Bpe {
 public:
  /// What one thread works with; reusable, holds the cache of words.
  class Scratch;

  Bpe(Vocabulary vocabulary, BpeOptions options);
  ~Bpe();

  /// The merge of `left` and `right` into `merged`, better than all added later. A pair added before is
  /// replaced, as in a Python dict.
  void reserve_merges(size_t count);
  void add_merge(int32_t left, int32_t right, int32_t merged);
  /// Merges implied by scores, one per id, higher is better. NaN is an Error.
  void set_scores(std::vector<float> scores);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const BpeOptions& options() const { return options_; }

  std::shared_ptr<Scratch> make_scratch() const;
  /// Appends the ids of one piece. `raw_bytes`: the piece is still to be spelled in the byte alphabet; a
  /// scratch must always see the same value of it.
  void encode(std::string_view piece, bool raw_bytes, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  struct Symbol;
  struct Candidate;

  void encode_word(std::string_view word, bool raw_bytes, Scratch& scratch, std::vector<int32_t>& ids) const;
  void merge_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;
  void first_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  bool candidate(std::string_view word, const std::vector<Symbol>& symbols, int32_t at, Candidate& out) const;
  void find_safe_cuts();

  Vocabulary vocabulary_;
  BpeOptions options_;
  PairMap merges_;
  uint32_t merge_count_ = 0;
  std::vector<float> scores_;  // empty where merges are listed
  int32_t ascii_[128];         // ids of one-byte characters, -1 where there is none
  int32_t fallback_[256];      // ids of "<0x00>" .. "<0xFF>", -1 where there is none
  bool cuts_ = false;          // pieces may be cut in front of a "▁" ...
  bool joined_[256] = {};      // ... except behind these bytes
};

}  // namespace outliers::text
