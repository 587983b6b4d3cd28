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
#include "outliers/text/model.h"

namespace outliers::text {

struct BpeOptions {
  std::optional<int32_t> unknown;
  std::string missing_unknown =
      {};  ///< an unknown token that the vocabulary lacks: an Error where it is needed
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;     ///< a piece that is a token stays whole
  std::string continuing_prefix;  ///< before every character but a piece's first ("##")
  std::string end_suffix;         ///< behind a piece's last character ("</w>")
};

/// Which of two merges with equal scores comes first: the one with the longer left part, wherever it stands
/// (transformers' list of merges), or the leftmost (sentencepiece).
enum class EqualScores { longer_left_first, leftmost_first };

class Bpe final : public Model {
 public:
  Bpe(Vocabulary vocabulary, BpeOptions options);
  ~Bpe() override;

  void reserve_merges(size_t count);
  /// The merge of two spellings, better than all added later. A pair added before is replaced, as in a Python
  /// dict. False, and nothing added, where one of them or the token they make is not in the vocabulary.
  bool add_merge(std::string_view left, std::string_view right);
  /// Merges implied by scores, one per id, higher is better; nothing merges into an id of minus infinity. NaN
  /// is an Error.
  void set_scores(std::vector<float> scores, EqualScores equal = EqualScores::longer_left_first);

  const char* name() const override { return "BPE"; }
  std::optional<int32_t> unknown() const override { return options_.unknown; }
  std::unique_ptr<Scratch> make_scratch() const override;
  void encode(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
              std::vector<int32_t>& ids) const override;

 private:
  struct Symbol;
  struct Candidate;
  class Work;  // a thread's scratch: symbols, heap and the cache of words

  void encode_piece(std::string_view piece, bool raw_bytes, Work& work, std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, bool raw_bytes, Work& work, std::vector<int32_t>& ids) const;
  void merge_word(std::string_view word, Work& work, std::vector<int32_t>& ids) const;
  void merge_bytes(std::string_view word, std::vector<int32_t>& ids) const;
  void first_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  bool candidate(std::string_view word, const std::vector<Symbol>& symbols, int32_t at, Candidate& out) const;
  void find_safe_cuts();

  BpeOptions options_;
  PairMap merges_;
  uint32_t merge_count_ = 0;
  std::vector<float> scores_;  // empty where merges are listed
  EqualScores equal_scores_ = EqualScores::longer_left_first;
  int32_t ascii_[128];     // ids of one-byte characters, -1 where there is none
  int32_t fallback_[256];  // ids of "<0x00>" .. "<0xFF>", -1 where there is none
  int32_t bytes_[256];     // ids of bytes as byte-level models spell them
  bool plain_bytes_;       // all bytes have one, and symbols are joined as they are
  bool cuts_ = false;      // pieces may be cut in front of a "▁" ...
  bool joined_[256] = {};  // ... except behind these bytes
};

/// The two tokens of a listed merge, "left right"; false where it is not that.
bool split_merge(std::string_view merge, std::string_view& left, std::string_view& right);

}  // namespace outliers::text
