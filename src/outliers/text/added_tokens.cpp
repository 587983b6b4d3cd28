// The matcher follows tokenizers' AddedVocabulary::find_matches, whose patterns are leftmost-longest too.
#include "outliers/text/added_tokens.h"

#include <algorithm>

#include "outliers/text/unicode.h"

namespace outliers::text {

void add_token(AddedToken token, const Vocabulary& vocabulary, std::vector<AddedToken>& added) {
  if (token.content.empty()) return;
  token.was_special = token.special;
  const auto same = std::find_if(added.begin(), added.end(),
                                 [&](const AddedToken& other) { return other.content == token.content; });
  if (same != added.end()) {
    token.id = same->id;
    token.was_special = token.was_special || same->was_special;
    *same = std::move(token);
    return;
  }
  token.id = vocabulary.find(token.content);
  if (token.id < 0) {
    token.id = static_cast<int32_t>(vocabulary.count());
    for (const AddedToken& other : added) token.id = std::max(token.id, other.id + 1);
  }
  added.push_back(std::move(token));
}

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
  const auto index = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  if (pattern.empty()) {
    if (everywhere_ == ByteTrie::none) everywhere_ = index;
    return;
  }
  first_[static_cast<unsigned char>(pattern[0])] = true;
  trie_.add(pattern, index);  // of equal patterns the first wins
}

void AddedTokenMatcher::split(std::string_view text, std::vector<TokenOrText>& out) const {
  out.clear();
  size_t done = 0, last = std::string_view::npos;  // last: the end of the last match
  const size_t limit = text.size() + (everywhere_ != ByteTrie::none && !text.empty() ? 1 : 0);
  for (size_t at = 0; at < limit;) {
    size_t length = 0;
    int32_t index = at < text.size() && first_[static_cast<unsigned char>(text[at])]
                        ? trie_.longest(text, at, length)
                        : ByteTrie::none;
    if (index == ByteTrie::none && everywhere_ != ByteTrie::none && at != last) {
      const bool inside = at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
      if (!inside) index = everywhere_;  // tokenizers stops with an error inside a character
    }
    if (index == ByteTrie::none) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at, end = at + length;
    last = at = end;  // also a match that is discarded hides those that overlap it
    if (leaves_special_ && token.was_special) continue;
    if (token.single_word) {
      size_t behind = end;
      const bool word_before = begin > 0 && is_word(last_code_point(text.substr(0, begin)));
      const bool word_after = end < text.size() && is_word(next_code_point(text, behind));
      if (word_before || word_after) continue;
    }
    if (token.lstrip) {
      begin = std::max(begin, done);  // the last token may have taken white space beyond this one's place
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
    if (begin < end) out.push_back({token.id, text.substr(begin, end - begin)});
    done = std::max(done, end);
  }
  if (done < text.size()) out.push_back({-1, text.substr(done)});
}

}  // namespace outliers::text
