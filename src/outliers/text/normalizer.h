// Normalisers: what happens to the text between added tokens before it is cut into pieces.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/byte_trie.h"
#include "outliers/text/charsmap.h"
#include "outliers/text/regex.h"
#include "outliers/text/unicode.h"

namespace outliers::text {

/// A stretch of text between added tokens.
struct Segment {
  std::string text;
  bool at_start = true;  ///< its first character is the input's first (Metaspace's prepend_scheme "first")
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Segment& segment) const = 0;
};
using NormalizerPtr = std::unique_ptr<Normalizer>;

NormalizerPtr make_normal_form(NormalForm form);
NormalizerPtr make_lowercase();
NormalizerPtr make_strip(bool left, bool right);  ///< white space
NormalizerPtr make_strip_accents();               ///< removes combining marks; NFD comes before it
NormalizerPtr make_prepend(std::string prefix);   ///< nothing before an empty text
/// A literal (`regex` empty) or a pattern; every match becomes `content`.
NormalizerPtr make_replace(std::string literal, std::optional<Regex> regex, std::string content);
NormalizerPtr make_spell_bytes();  ///< ByteLevel as a normaliser
NormalizerPtr make_nmt();          ///< controls removed, odd spaces made plain
/// Precompiled: a charsmap applied as tokenizers does, to short grapheme clusters whole and to others by
/// character.
NormalizerPtr make_precompiled(Charsmap charsmap);

/// The NormalizerSpec of a SentencePiece model.
struct SentencePieceRules {
  std::optional<Charsmap> charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;           ///< a space becomes "▁"
  bool treat_whitespace_as_suffix = false;  ///< the dummy space goes behind the text
  std::vector<std::string> verbatim;        ///< user-defined symbols, which no rule changes
};
/// Normalises as the sentencepiece program does.
NormalizerPtr make_sentencepiece(SentencePieceRules rules);
NormalizerPtr make_sequence(std::vector<NormalizerPtr> steps);

/// `text` with every match replaced; shared with the decoder of the same name.
std::string replace_all(std::string_view text, std::string_view literal, const std::optional<Regex>& regex,
                        std::string_view content);

}  // namespace outliers::text
