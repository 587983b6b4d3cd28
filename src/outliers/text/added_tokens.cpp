// The matcher follows tokenizers' AddedVocabulary::find_matches, whose patterns are leftmost-longest too.
#include "outliers/text/added_tokens.h"

#include "outliers/text/unicode.h"

namespace outliers::text {

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
  if (pattern.empty()) return;
  first_[static_cast<unsigned char>(pattern[0])] = true;
  trie_.add(pattern, static_cast<int32_t>(tokens_.size()));  // of equal patterns the first wins
  tokens_.push_back(token);
}

void AddedTokenMatcher::split(std::string_view text, std::vector<TokenOrText>& out) const {
  out.clear();
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const int32_t index =
        first_[static_cast<unsigned char>(text[at])] ? trie_.longest(text, at, length) : ByteTrie::none;
    if (index == ByteTrie::none) {
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
