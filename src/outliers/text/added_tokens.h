// Added tokens: texts that become one id wherever they occur, before (or, when `normalized`, after)
// normalisation. Matching is leftmost-longest over all of them at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/byte_trie.h"
#include "outliers/text/normalizer.h"

namespace outliers::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no word character stands on either side
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< looked for in the normalised text
  bool special = false;
};

/// A part of a text: an added token, or text between them (id -1).
struct TokenOrText {
  int32_t id;
  std::string_view text;
};

/// The leftmost-longest matcher of one group of added tokens.
class AddedTokenMatcher {
 public:
  /// `pattern` is what to look for: the content, or its normalised form.
  void add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return tokens_.empty(); }
  /// The text cut at the tokens found; empty stretches are left out.
  void split(std::string_view text, std::vector<TokenOrText>& out) const;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;  // patterns -> indices into tokens_
  bool first_[256] = {};
};

}  // namespace outliers::text
