// The matcher follows tokenizers' AddedVocabulary::find_matches, whose patterns are leftmost-longest too.
#include "outliers/text/added_tokens.h"

#include <algorithm>

#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

size_t edge_hash(int32_t node, unsigned char byte) {
  return (static_cast<uint64_t>(node) << 8 | byte) * 0x9e3779b97f4a7c15u >> 24;
}

}  // namespace

int32_t AddedTokenMatcher::child(int32_t node, unsigned char byte) const {
  if (slots_.empty()) return -1;
  const size_t mask = slots_.size() - 1;
  for (size_t at = edge_hash(node, byte) & mask; slots_[at] >= 0; at = (at + 1) & mask) {
    const auto& [edge, to] = edges_[static_cast<size_t>(slots_[at])];
    if (edge.node == node && edge.byte == byte) return to;
  }
  return -1;
}

void AddedTokenMatcher::add_edge(int32_t node, unsigned char byte, int32_t to) {
  const auto place = [&](int32_t index) {
    const Edge& edge = edges_[static_cast<size_t>(index)].first;
    const size_t mask = slots_.size() - 1;
    size_t at = edge_hash(edge.node, edge.byte) & mask;
    while (slots_[at] >= 0) at = (at + 1) & mask;
    slots_[at] = index;
  };
  edges_.push_back({{node, byte}, to});
  if (edges_.size() * 2 > slots_.size()) {
    slots_.assign(std::max<size_t>(64, slots_.size() * 4), -1);
    for (size_t i = 0; i < edges_.size(); ++i) place(static_cast<int32_t>(i));
  } else {
    place(static_cast<int32_t>(edges_.size()) - 1);
  }
}

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
  if (pattern.empty()) return;
  int32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(ends_.size());
      ends_.push_back(-1);
      add_edge(node, byte, next);
    }
    node = next;
  }
  first_[static_cast<unsigned char>(pattern[0])] = true;
  if (ends_[static_cast<size_t>(node)] >= 0) return;  // of equal patterns the first wins
  ends_[static_cast<size_t>(node)] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

// The index of the longest token that starts at `at`, or -1.
int32_t AddedTokenMatcher::longest_at(std::string_view text, size_t at, size_t& length) const {
  int32_t found = -1, node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    node = child(node, static_cast<unsigned char>(text[i]));
    if (node < 0) break;
    if (ends_[static_cast<size_t>(node)] >= 0) {
      found = ends_[static_cast<size_t>(node)];
      length = i + 1 - at;
    }
  }
  return found;
}

void AddedTokenMatcher::split(std::string_view text, std::vector<TokenOrText>& out) const {
  out.clear();
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const int32_t index = first_[static_cast<unsigned char>(text[at])] ? longest_at(text, at, length) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at, end = at + length;
    at = end;  // also a match that is discarded hides those that overlap it
    if (token.single_word) {
      size_t behind = end;
      const bool word_before = begin > 0 && is_word(last_code_point(text.substr(0, begin)));
      const bool word_after = end < text.size() && is_word(next_code_point(text, behind));
      if (word_before || word_after) continue;
    }
    if (token.lstrip) {
      while (begin > done) {
        size_t back = begin - 1;
        while ((static_cast<unsigned char>(text[back]) & 0xc0) == 0x80) --back;
        size_t probe = back;
        if (!is_white_space(next_code_point(text, probe))) break;
        begin = back;
      }
    }
    if (token.rstrip) {
      for (size_t next = end; next < text.size(); end = next) {
        if (!is_white_space(next_code_point(text, next))) break;
      }
    }
    if (done < begin) out.push_back({-1, text.substr(done, begin - done)});
    out.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) out.push_back({-1, text.substr(done)});
}

}  // namespace outliers::text
