// Added tokens: texts that become one id wherever they occur, before (or, when `normalized`, after)
// normalisation. Matching is leftmost-longest over all of them at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/byte_trie.h"
#include "outliers/text/normalizer.h"
#include "outliers/text/vocabulary.h"

namespace outliers::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no word character stands on either side
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< looked for in the normalised text
  bool special = false;
  bool as_text = false;      ///< a file names it by its text alone
  bool is_marked = false;    ///< by an object of tokenizer_config.json, which added_tokens.json does not heed
  bool was_special = false;  ///< special in one of its definitions; that stays, as in tokenizers
};

/// Adds a token as tokenizers' add_tokens does: one of the same content gets the new options and keeps its
/// id; else it has the id of the vocabulary, or the next free one.
void add_token(AddedToken token, const Vocabulary& vocabulary, std::vector<AddedToken>& added);

/// A part of a text: an added token, or text between them (id -1).
struct TokenOrText {
  int32_t id;
  std::string_view text;
};

/// The leftmost-longest matcher of one group of added tokens.
class AddedTokenMatcher {
 public:
  /// `pattern` is what to look for: the content, or its normalised form.
  /// A token whose normalised form is empty is found between all characters where no other is, as in
  /// tokenizers.
  void add(const AddedToken& token, std::string_view pattern);
  /// Special tokens are found, but left to be encoded as ordinary text: transformers' split_special_tokens.
  void leave_special_tokens() { leaves_special_ = true; }
  bool empty() const { return tokens_.empty(); }
  /// The text cut at the tokens found; empty stretches are left out.
  void split(std::string_view text, std::vector<TokenOrText>& out) const;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;  // patterns -> indices into tokens_
  bool first_[256] = {}, leaves_special_ = false;
  int32_t everywhere_ = ByteTrie::none;  // index of the token with an empty pattern
};

}  // namespace outliers::text
