// The most common patterns as hand-written scanners, several times as fast as a regular expression. Each cuts
// exactly where its pattern does (tests/text/scanner_test.cpp compares them on random strings), with the
// letters, marks and numbers of Unicode 16, as Hugging Face's own patterns have them.
#pragma once

#include <string_view>
#include <vector>

#include "outliers/text/pre_tokenizer.h"

namespace outliers::text {

/// Appends the cuts of `text` (valid UTF-8), moved by `base`. These patterns match everywhere, so the spans
/// cover the text without gaps.
using Scan = void (*)(std::string_view text, size_t base, std::vector<Span>& spans);

/// The scanner of a pattern (Oniguruma syntax), or nullptr where there is none.
Scan find_scanner(std::string_view pattern);

/// What patterns ask of a code point; one bit each.
enum CharacterClass : unsigned char {
  upper_class = 1,     ///< Lu, Lt
  lower_class = 2,     ///< Ll
  caseless_class = 4,  ///< Lm, Lo
  mark_class = 8,      ///< M
  number_class = 16,   ///< N
  newline_class = 32,  ///< \r, \n
  space_class = 64,    ///< other white space
  other_class = 128,
};
CharacterClass character_class(char32_t point);

}  // namespace outliers::text
