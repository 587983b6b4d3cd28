// One pass from left to right keeps, for every place between characters, the best cut of what lies before
// it; a walk back from the end reads the tokens off.
#include "outliers/text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "outliers/core/error.h"
#include "outliers/text/unicode.h"

namespace outliers::text {

template <typename Real>
class Unigram::Work final : public Model::Scratch {
 public:
  // The best way to end at a place: the last token and where it starts.
  struct Place {
    Real score = 0;
    int32_t start = -1;  // -1: not reached
    int32_t id = -1;     // -1: an unknown character
  };
  std::vector<Place> places;
  std::vector<int32_t> ends;
  std::string spelled;
};

Unigram::Unigram(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options)
    : Model(std::move(vocabulary)), options_(options), scores_(std::move(scores)) {
  for (size_t id = 0; id < scores_.size(); ++id) {
    require(!std::isnan(scores_[id]), "the score of token {} is not a number", id);
    const std::string_view piece = vocabulary_.piece(static_cast<int32_t>(id));
    // Of equal spellings the last id counts, as in the vocabulary.
    if (piece.empty() || vocabulary_.find(piece) != static_cast<int32_t>(id)) continue;
    if (scores_[id] != -std::numeric_limits<double>::infinity()) trie_.add(piece, static_cast<int32_t>(id));
  }
  for (int byte = 0; byte < 256; ++byte) fallback_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
}

std::unique_ptr<Model::Scratch> Unigram::make_scratch() const {
  if (options_.style == UnigramStyle::sentencepiece) return std::make_unique<Work<float>>();
  return std::make_unique<Work<double>>();
}

void Unigram::encode(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
                     std::vector<int32_t>& ids) const {
  if (options_.style == UnigramStyle::sentencepiece) {
    encode_as<float>(pieces, first, last, scratch, ids);
  } else {
    encode_as<double>(pieces, first, last, scratch, ids);
  }
}

template <typename Real>
void Unigram::encode_as(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
                        std::vector<int32_t>& ids) const {
  auto& work = static_cast<Work<Real>&>(scratch);
  for (size_t i = first; i < last; ++i) {
    std::string_view piece = pieces.view(pieces.spans[i]);
    if (pieces.raw_bytes) piece = work.spelled = spell_bytes(piece);
    encode_piece(piece, work, ids);
  }
}

template <typename Real>
void Unigram::encode_piece(std::string_view piece, Work<Real>& work, std::vector<int32_t>& ids) const {
  require(piece.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()),
          "a piece of {} bytes without a place to cut it is too long to tokenise", piece.size());
  auto& places = work.places;
  places.assign(piece.size() + 1, {});
  const auto unknown_score = static_cast<Real>(options_.unknown_score);
  size_t furthest = 0;
  const auto reach = [&](size_t start, size_t end, Real score, int32_t id) {
    auto& place = places[end];
    furthest = std::max(furthest, end);
    if (place.start < 0 || score > place.score) place = {score, static_cast<int32_t>(start), id};
  };
  for (size_t at = 0; at < piece.size();) {
    Real before = places[at].score;
    // sentencepiece takes a large sum away again, before float32 has no room left for the next score.
    constexpr Real large = 100000;
    if (options_.style == UnigramStyle::sentencepiece && std::abs(before) > large) {
      for (size_t i = at; i <= furthest; ++i) places[i].score -= before;
      before = 0;
    }
    const size_t length = sequence_length(piece[at]);
    bool single = false;
    int32_t node = ByteTrie::root;
    for (size_t i = at; i < piece.size(); ++i) {
      node = trie_.child(node, static_cast<unsigned char>(piece[i]));
      if (node == ByteTrie::none) break;
      const int32_t id = trie_.value(node);
      if (id == ByteTrie::none) continue;
      reach(at, i + 1, static_cast<Real>(scores_[static_cast<size_t>(id)]) + before, id);
      single = single || i + 1 - at == length;
    }
    if (!single) reach(at, at + length, unknown_score + before, -1);
    at += length;
  }
  work.ends.clear();
  for (int32_t end = static_cast<int32_t>(piece.size()); end > 0;
       end = places[static_cast<size_t>(end)].start) {
    work.ends.push_back(end);
  }
  size_t unknown_from = 0, start = 0;  // the unknown stretch before `start`, empty where there is none
  for (auto end = work.ends.rbegin(); end != work.ends.rend(); ++end) {
    const int32_t id = places[static_cast<size_t>(*end)].id;
    if (id >= 0 && options_.unknown != id) {
      if (unknown_from < start) add_unknown(piece.substr(unknown_from, start - unknown_from), ids);
      ids.push_back(id);
      unknown_from = static_cast<size_t>(*end);
    }
    start = static_cast<size_t>(*end);
  }
  if (unknown_from < start) add_unknown(piece.substr(unknown_from), ids);
}

// A run of unknown characters is one unknown token, or all its bytes.
void Unigram::add_unknown(std::string_view stretch, std::vector<int32_t>& ids) const {
  if (options_.style == UnigramStyle::tokenizers) {
    if (const int32_t id = vocabulary_.find(stretch); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  if (options_.byte_fallback && std::all_of(stretch.begin(), stretch.end(), [this](char c) {
        return fallback_[static_cast<unsigned char>(c)] >= 0;
      })) {
    for (const char c : stretch) ids.push_back(fallback_[static_cast<unsigned char>(c)]);
    return;
  }
  require(options_.unknown.has_value(),
          "\"{}\" is not in the tokenizer's vocabulary, which has no unknown token to stand for it",
          printable(std::string(stretch)));
  ids.push_back(*options_.unknown);
}

}  // namespace outliers::text
