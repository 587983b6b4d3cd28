// Merging with a heap over a linked list of symbols, and a cache of words in front of it.
#include "outliers/text/bpe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "outliers/core/error.h"
#include "outliers/text/unicode.h"

namespace outliers::text {

struct Bpe::Symbol {
  int32_t id;
  int32_t previous, next;  // indices into the list, -1 at its ends
  uint32_t begin, bytes;   // in the word; bytes == 0 for a symbol merged away
  uint32_t characters;     // 0 for unknown and byte tokens, which implied merges never touch
  int32_t merged;          // what it and the next symbol merge into, -1 for nothing
};

// Ordered by merge order, then by position; `key` smaller is better.
struct Bpe::Candidate {
  uint64_t key;
  int32_t id;
  int32_t at;
  bool operator<(const Candidate& other) const {  // std heaps put the largest on top
    if (key != other.key) return key > other.key;
    if (id != other.id) return id > other.id;
    return at > other.at;
  }
};

class Bpe::Work final : public Model::Scratch {
 public:
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string spelled;

  // The ids of a cached word, or nullptr.
  const int32_t* find(std::string_view word, uint64_t hash, size_t& count) const {
    for (const size_t at : {hash & mask, (hash & mask) ^ 1}) {
      const Entry& entry = entries_[at];
      if (entry.bytes == word.size() && std::memcmp(entry.word, word.data(), word.size()) == 0) {
        count = entry.count;
        return entry.ids;
      }
    }
    return nullptr;
  }

  // Longer words and those of more tokens are rare; they are tokenised each time.
  void insert(std::string_view word, uint64_t hash, const int32_t* ids, size_t count) {
    if (count > most_ids) return;
    Entry& entry = entries_[hash & mask];
    entries_[(hash & mask) ^ 1] = entry;  // the older word gets a second chance
    entry.bytes = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(count);
    std::memcpy(entry.word, word.data(), word.size());
    std::copy(ids, ids + count, entry.ids);
  }

  static constexpr size_t longest_word = 30;

 private:
  static constexpr size_t most_ids = 8;
  static constexpr size_t mask = (1u << 16) - 1;
  // One cache line, so that a word costs one access.
  struct alignas(64) Entry {
    int32_t ids[most_ids] = {};
    uint8_t bytes = 0, count = 0;  // bytes 0: free, for words are not empty
    char word[longest_word] = {};
  };
  static_assert(sizeof(Entry) == 64);
  std::vector<Entry> entries_ = std::vector<Entry>(mask + 1);
};

Bpe::Bpe(Vocabulary vocabulary, BpeOptions options)
    : Model(std::move(vocabulary)), options_(std::move(options)) {
  for (int c = 0; c < 128; ++c) {
    const char text = static_cast<char>(c);
    ascii_[c] = vocabulary_.find(std::string_view(&text, 1));
  }
  for (int byte = 0; byte < 256; ++byte) fallback_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
  plain_bytes_ = options_.continuing_prefix.empty() && options_.end_suffix.empty();
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    bytes_[byte] = vocabulary_.find(spell_bytes(std::string_view(&text, 1)));
    plain_bytes_ = plain_bytes_ && bytes_[byte] >= 0;
  }
  find_safe_cuts();
}

Bpe::~Bpe() = default;

// SentencePiece models see a whole line as one piece. No merge can cross a boundary that lies inside no
// token, so a piece may be cut there and its words looked up in the cache. In front of "▁" nearly every
// boundary is of that kind; the bytes behind which some token continues with "▁" are the exceptions.
void Bpe::find_safe_cuts() {
  constexpr std::string_view mark = "▁";
  // Without an unknown token a character may vanish, and what stands around it merges.
  const bool all_bytes =
      options_.byte_fallback && std::all_of(fallback_, fallback_ + 256, [](int32_t id) { return id >= 0; });
  const bool vanishes = !options_.unknown && options_.missing_unknown.empty() && !all_bytes;
  cuts_ = vocabulary_.find(mark) >= 0 && options_.continuing_prefix.empty() && options_.end_suffix.empty() &&
          !options_.ignore_merges && !vanishes;
  if (!cuts_) return;
  // Nor may the unknown token merge with what follows.
  const std::string unknown =
      options_.unknown ? fmt::format("{}{}", vocabulary_.piece(*options_.unknown), mark) : "";
  for (const std::string_view piece : vocabulary_.pieces()) {
    if (!unknown.empty() && piece.starts_with(unknown)) {
      cuts_ = false;
      return;
    }
    for (size_t at = piece.find(mark, 1); at != std::string_view::npos; at = piece.find(mark, at + 1)) {
      joined_[static_cast<unsigned char>(piece[at - 1])] = true;
    }
  }
}

void Bpe::reserve_merges(size_t count) {
  merges_.reserve(count);
}

bool Bpe::add_merge(std::string_view left, std::string_view right) {
  std::string whole(left);
  whole += right.substr(std::min(right.size(), options_.continuing_prefix.size()));
  const int32_t left_id = vocabulary_.find(left), right_id = vocabulary_.find(right),
                merged = vocabulary_.find(whole);
  if (left_id < 0 || right_id < 0 || merged < 0) return false;
  merges_.insert(left_id, right_id, {merge_count_++, merged});
  return true;
}

bool split_merge(std::string_view merge, std::string_view& left, std::string_view& right) {
  const size_t space = merge.find(' ');
  if (space == std::string_view::npos) return false;
  left = merge.substr(0, space);
  right = merge.substr(space + 1);
  return !left.empty() && !right.empty() && right.find(' ') == std::string_view::npos;
}

void Bpe::set_scores(std::vector<float> scores, EqualScores equal) {
  for (size_t id = 0; id < scores.size(); ++id) {
    require(!std::isnan(scores[id]), "the score of token {} is not a number", id);
    if (scores[id] == 0) scores[id] = 0;  // -0 and 0 are the same score
  }
  scores_ = std::move(scores);
  equal_scores_ = equal;
}

std::unique_ptr<Model::Scratch> Bpe::make_scratch() const {
  return std::make_unique<Work>();
}

void Bpe::encode(const Pieces& pieces, size_t first, size_t last, Scratch& scratch,
                 std::vector<int32_t>& ids) const {
  Work& work = static_cast<Work&>(scratch);
  for (size_t i = first; i < last; ++i) {
    encode_piece(pieces.view(pieces.spans[i]), pieces.raw_bytes, work, ids);
  }
}

void Bpe::encode_piece(std::string_view piece, bool raw_bytes, Work& work, std::vector<int32_t>& ids) const {
  if (!cuts_ || raw_bytes) return encode_word(piece, raw_bytes, work, ids);
  constexpr std::string_view mark = "▁";
  size_t done = 0;
  for (size_t at = piece.find(mark, 1); at != std::string_view::npos;
       at = piece.find(mark, at + mark.size())) {
    if (joined_[static_cast<unsigned char>(piece[at - 1])]) continue;
    encode_word(piece.substr(done, at - done), false, work, ids);
    done = at;
  }
  encode_word(piece.substr(done), false, work, ids);
}

void Bpe::encode_word(std::string_view word, bool raw_bytes, Work& work, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  const bool cached = word.size() <= Work::longest_word;
  uint64_t hash = 0;
  if (cached) {
    hash = hash_bytes(word);
    size_t count = 0;
    if (const int32_t* found = work.find(word, hash, count)) {
      ids.insert(ids.end(), found, found + count);
      return;
    }
  }
  const size_t first = ids.size();
  const bool plain = cached && raw_bytes && plain_bytes_ && scores_.empty();
  std::string_view spelled = word;
  if (raw_bytes && (!plain || options_.ignore_merges)) {
    work.spelled = spell_bytes(word);
    spelled = work.spelled;
  }
  const int32_t whole = options_.ignore_merges ? vocabulary_.find(spelled) : -1;
  if (whole >= 0) {
    ids.push_back(whole);
  } else if (plain) {
    merge_bytes(word, ids);
  } else {
    merge_word(spelled, work, ids);
  }
  if (cached) work.insert(word, hash, ids.data() + first, ids.size() - first);
}

// The characters as symbols. Follows tokenizers' merge_word step by step, with its order of events: an
// unknown waits until the next known character, byte tokens overtake it, and without an unknown token it
// vanishes.
void Bpe::first_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](int32_t id, uint32_t begin, uint32_t bytes, uint32_t characters) {
    symbols.push_back({id, 0, 0, begin, bytes, characters, -1});
  };
  const bool affixed = !options_.continuing_prefix.empty() || !options_.end_suffix.empty();
  uint32_t unknown_begin = 0, unknown_bytes = 0;
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const auto begin = static_cast<uint32_t>(at);
    const auto bytes = static_cast<uint32_t>(sequence_length(word[at]));
    at += bytes;
    std::string_view character = word.substr(begin, bytes);
    if (affixed) {
      decorated = begin > 0 ? options_.continuing_prefix : "";
      decorated += character;
      if (at == word.size()) decorated += options_.end_suffix;
      character = decorated;
    }
    const int32_t id = character.size() == 1 && static_cast<unsigned char>(character[0]) < 128
                           ? ascii_[static_cast<unsigned char>(character[0])]
                           : vocabulary_.find(character);
    if (id >= 0) {
      if (unknown_bytes > 0) add(*options_.unknown, unknown_begin, unknown_bytes, 0);
      unknown_bytes = 0;
      add(id, begin, bytes, 1);
      continue;
    }
    if (options_.byte_fallback && std::all_of(character.begin(), character.end(), [this](char c) {
          return fallback_[static_cast<unsigned char>(c)] >= 0;
        })) {
      for (size_t i = 0; i < character.size(); ++i) {
        add(fallback_[static_cast<unsigned char>(character[i])], begin + static_cast<uint32_t>(i), 1, 0);
      }
      continue;
    }
    require(options_.missing_unknown.empty(),
            "\"{}\" is not in the tokenizer's vocabulary, and neither is its unknown token \"{}\"",
            printable(std::string(character)), printable(options_.missing_unknown));
    if (!options_.unknown) continue;
    if (unknown_bytes > 0 && options_.fuse_unknown) {
      unknown_bytes += bytes;
    } else {
      if (unknown_bytes > 0) add(*options_.unknown, unknown_begin, unknown_bytes, 0);
      unknown_begin = begin;
      unknown_bytes = bytes;
    }
  }
  if (unknown_bytes > 0) add(*options_.unknown, unknown_begin, unknown_bytes, 0);
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < symbols.size() ? static_cast<int32_t>(i) + 1 : -1;
  }
}

// Whether the symbol at `at` may merge with the next one, and how early.
bool Bpe::candidate(std::string_view word, const std::vector<Symbol>& symbols, int32_t at,
                    Candidate& out) const {
  const Symbol& left = symbols[static_cast<size_t>(at)];
  const Symbol& right = symbols[static_cast<size_t>(left.next)];
  if (scores_.empty()) {
    const PairMap::Value* merge = merges_.find(left.id, right.id);
    if (!merge) return false;
    out = {merge->rank, merge->id, at};
    return true;
  }
  if (left.characters == 0 || right.characters == 0) return false;
  const size_t bytes = left.bytes + right.bytes;
  if (bytes > vocabulary_.longest_bytes()) return false;
  int32_t id;
  if (left.begin + left.bytes == right.begin) {
    id = vocabulary_.find(word.substr(left.begin, bytes));
  } else {  // a character between them vanished
    std::string joined(vocabulary_.piece(left.id));
    id = vocabulary_.find(joined += vocabulary_.piece(right.id));
  }
  if (id < 0) return false;
  const float score = scores_[static_cast<size_t>(id)];
  if (score == -std::numeric_limits<float>::infinity()) return false;
  // Best score first. Of equal scores the leftmost; or the longer left part, then the longer right part, then
  // the smaller id.
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  constexpr uint32_t most = 0xffff;
  const uint64_t tie = equal_scores_ == EqualScores::leftmost_first
                           ? static_cast<uint64_t>(at)
                           : uint64_t{most - std::min(left.characters, most)} << 16 |
                                 (most - std::min(right.characters, most));
  out = {uint64_t{~ascending} << 32 | tie, id, at};
  return true;
}

void Bpe::merge_word(std::string_view word, Work& work, std::vector<int32_t>& ids) const {
  require(word.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()),
          "a piece of {} bytes without a place to cut it is too long to tokenise", word.size());
  std::vector<Symbol>& symbols = work.symbols;
  std::vector<Candidate>& heap = work.heap;
  first_symbols(word, symbols);
  heap.clear();
  Candidate next;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (!candidate(word, symbols, static_cast<int32_t>(i), next)) continue;
    symbols[i].merged = next.id;
    heap.push_back(next);
  }
  std::make_heap(heap.begin(), heap.end());
  const auto push = [&](int32_t at) {
    const bool found = candidate(word, symbols, at, next);
    symbols[static_cast<size_t>(at)].merged = found ? next.id : -1;
    if (!found) return;
    heap.push_back(next);
    std::push_heap(heap.begin(), heap.end());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[static_cast<size_t>(best.at)];
    // The pair may have changed since it was queued. As in tokenizers, it counts as the same as long as it
    // still makes the same token.
    if (left.merged != best.id) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    left.id = best.id;
    left.bytes += right.bytes;
    left.characters += right.characters;
    left.next = right.next;
    right.bytes = 0;
    left.merged = right.merged = -1;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.at;
    if (left.previous >= 0) push(left.previous);
    if (left.next >= 0) push(best.at);
  }
  for (const Symbol& symbol : symbols) {
    if (symbol.bytes > 0) ids.push_back(symbol.id);
  }
}

// merge_word for a word that the cache may hold: so few pairs are found faster than sorted. Each byte has a
// symbol, so a token has one place and length, and the quirk of pairs that have changed cannot arise.
void Bpe::merge_bytes(std::string_view word, std::vector<int32_t>& ids) const {
  constexpr uint32_t none = std::numeric_limits<uint32_t>::max();
  std::array<int32_t, Work::longest_word> symbols;
  std::array<int32_t, Work::longest_word> merged;  // what symbol i and the next one make ...
  std::array<uint32_t, Work::longest_word> ranks;  // ... and how early
  size_t count = word.size();
  const auto look = [&](size_t i) {
    const PairMap::Value* merge = merges_.find(symbols[i], symbols[i + 1]);
    ranks[i] = merge ? merge->rank : none;
    merged[i] = merge ? merge->id : -1;
  };
  for (size_t i = 0; i < count; ++i) symbols[i] = bytes_[static_cast<unsigned char>(word[i])];
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    const auto pairs = ranks.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    const auto best = static_cast<size_t>(std::min_element(ranks.begin(), pairs) - ranks.begin());
    if (ranks[best] == none) break;
    symbols[best] = merged[best];
    --count;
    for (size_t i = best + 1; i < count; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) {
      merged[i] = merged[i + 1];
      ranks[i] = ranks[i + 1];
    }
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace outliers::text
