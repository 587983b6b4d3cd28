// JSON as Python's json module writes and reads it. Files of Hugging Face come from there, and have what RFC
// 8259 has not: NaN and Infinity, whole numbers of any size, lone surrogates. A field that nobody needs must
// not stop a reading.
#pragma once

#include <string>
#include <string_view>

namespace outliers {

/// What stands for a number that is not finite: no reader takes it for a number, a string or an object.
inline constexpr std::string_view kNotFinite = R"([["not finite"]])";

/// Whether a parsed value stands for such a number.
template <typename Json>
bool is_not_finite(const Json& value) {
  return value.is_array() && value.size() == 1 && value.dump() == kNotFinite;
}

/// `text` as JSON that every parser reads. A byte order mark is dropped; whole numbers beyond 64 bits are
/// written as floating-point numbers, NaN, Infinity, -Infinity and what overflows a double as `not_finite`, a
/// lone surrogate as U+FFFD. Throws an Error of one line where Python does not read it either: "`where`: this
/// is not valid JSON:", the line and column (or the byte, in a text of one line), the reason. Python would
/// read invalid UTF-8 nowhere, and values nested deeper than about 1,000 neither.
std::string strict_json(std::string_view text, const std::string& where,
                        std::string_view not_finite = kNotFinite);

/// Whether `text` may hold values nested deeper than strict_json() allows; recursive code must not see them.
bool may_be_too_deep(std::string_view text);

/// The parsed text; Json is nlohmann::json or ordered_json (of which the parser is compiled here, once), in
/// both of which the last of equal keys wins, as in Python. Throws as strict_json() does.
template <typename Json>
Json parse_json(std::string_view text, const std::string& where, std::string_view not_finite = kNotFinite);

}  // namespace outliers
