// The Unigram model: the cut of a piece into tokens whose scores (log probabilities) add up to the most,
// found by Viterbi's algorithm. Kudo, "Subword Regularization" (ACL 2018, arXiv 1804.10959), section 3.2.
// Sums are formed as the original program forms them, because a tie is broken by the last bit.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "outliers/text/byte_trie.h"
#include "outliers/text/model.h"

namespace outliers::text {

/// How scores are added up, and what an unknown stretch may be: tokenizers sums in float64, and a run of
/// unknown characters that is spelled like a token is that token; sentencepiece sums in float32.
enum class UnigramStyle { tokenizers, sentencepiece };

struct UnigramOptions {
  UnigramStyle style = UnigramStyle::tokenizers;
  std::optional<int32_t> unknown;
  double unknown_score = 0;  ///< of a character that is no token
  bool byte_fallback = false;
};

class Unigram final : public Model {
 public:
  /// The penalty of an unknown character below the worst token.
  static constexpr float unknown_penalty = 10;

  /// `scores` by id; text never becomes an id of minus infinity. NaN is an Error.
  Unigram(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options);

  const char* name() const override { return "Unigram"; }
  std::optional<int32_t> unknown() const override { return options_.unknown; }
  std::unique_ptr<Scratch> make_scratch() const override;
  void encode(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
              std::vector<int32_t>& ids) const override;

 private:
  template <typename Real>
  class Work;
  template <typename Real>
  void encode_as(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
                 std::vector<int32_t>& ids) const;
  template <typename Real>
  void encode_piece(std::string_view piece, Work<Real>& work, std::vector<int32_t>& ids) const;
  void add_unknown(std::string_view stretch, std::vector<int32_t>& ids) const;

  UnigramOptions options_;
  std::vector<double> scores_;
  ByteTrie trie_;
  int32_t fallback_[256];  // ids of "<0x00>" .. "<0xFF>", -1 where there is none
};

}  // namespace outliers::text
