// UTF-8 and the character properties that tokenisers ask for. Properties and normal forms come from
// utf8proc; White_Space is spelled out because it must be Unicode's property, not C's or PCRE2's.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "outliers/core/utf8.h"

namespace outliers::text {

/// Length in bytes of the sequence that starts with `lead`, for text known to be valid UTF-8.
inline size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/// The code point at `at` of valid UTF-8; `at` moves behind it.
inline char32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const size_t length = sequence_length(text[at]);
  char32_t point = byte(at);
  if (length > 1) {
    point &= 0x7fu >> length;
    for (size_t i = 1; i < length; ++i) point = point << 6 | (byte(at + i) & 0x3f);
  }
  at += length;
  return point;
}

/// The last code point of valid, non-empty UTF-8.
char32_t last_code_point(std::string_view text);

void append_utf8(std::string& out, char32_t point);

bool is_valid_utf8(std::string_view bytes);

bool is_white_space(char32_t point);  ///< the property White_Space
bool is_numeric(char32_t point);      ///< general categories Nd, Nl, No
bool is_punctuation(char32_t point);  ///< ASCII punctuation or a general category P*
bool is_mark(char32_t point);         ///< general categories Mn, Mc, Me
bool is_nonspacing_mark(char32_t point);
bool is_word(char32_t point);  ///< \w of UTS 18: Alphabetic, M, Nd, Pc (and the two joiners)
/// Cc, Cf, Zl, Zp and unassigned points, which a reader cannot see.
bool is_invisible(char32_t point);

/// Length in bytes of the extended grapheme cluster that starts at `at` of valid UTF-8 (UAX 29).
size_t grapheme_length(std::string_view text, size_t at);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
std::string normal_form(std::string_view text, NormalForm form);
/// Per character, with Unicode's unconditional special cases, as Rust's char::to_lowercase.
std::string lowercase(std::string_view text);

/// GPT-2's printable alphabet for bytes: byte -> its character in UTF-8 ("Ġ" for a space).
const std::array<std::string, 256>& byte_alphabet();
/// The byte a character of that alphabet stands for, or -1.
int byte_of_alphabet(char32_t point);
/// All bytes spelled in the alphabet.
std::string spell_bytes(std::string_view bytes);
/// The bytes of a spelling; false where a character is not in the alphabet.
bool unspell_bytes(std::string_view spelling, std::string& bytes);
/// The byte of "<0x0A>", or -1.
int byte_of_fallback_piece(std::string_view piece);

}  // namespace outliers::text
