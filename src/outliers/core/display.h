// Text as a terminal, a page or a figure shows it: what cannot be seen, or changes how other text is seen, is
// spelled out, and a line's columns are counted. printable() of core/error.h is the same for one line.
#pragma once

#include <string>
#include <string_view>

namespace outliers {

/// `text` with what cannot be seen as an escape: \u202e, or \U000e0041 beyond four digits. That is Unicode's
/// Default_Ignorable_Code_Point (what turns the direction of text, has no width, or is a tag), line and
/// paragraph separators and annotation marks. Joiners (U+200C, U+200D) within words and emoji and variation
/// selectors of the basic plane stay; so do control characters and what is no UTF-8. Pages do the same in
/// page/numbers.js.
std::string escape_hidden(std::string_view text);

/// Columns that a terminal takes for UTF-8 text: two for wide characters, none for combining ones.
size_t display_width(std::string_view text);

/// `text` cut with an ellipsis to `columns` of a terminal; marks that combine go before their letter.
std::string shorten(std::string text, size_t columns);

}  // namespace outliers
