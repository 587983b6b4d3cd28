// UTF-8, properties and normal forms. utf8proc decides the properties; the ids depend on its Unicode version
// only for characters younger than that version.
#include "outliers/text/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <simdjson.h>
#include <utf8proc.h>

#include "outliers/core/error.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {
namespace {

utf8proc_category_t category(char32_t point) {
  return static_cast<utf8proc_category_t>(
      utf8proc_get_property(static_cast<utf8proc_int32_t>(point))->category);
}

}  // namespace

char32_t last_code_point(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return next_code_point(text, at);
}

void append_utf8(std::string& out, char32_t point) {
  utf8proc_uint8_t buffer[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(point), buffer);
  out.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(length));
}

bool is_valid_utf8(std::string_view bytes) {
  return simdjson::validate_utf8(bytes.data(), bytes.size());
}

std::string replace_invalid_utf8(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    size_t broken = 0;
    const size_t length = valid_sequence(bytes, i, &broken);
    if (length > 0) {
      out.append(bytes, i, length);
    } else {
      out += "\uFFFD";
    }
    i += length > 0 ? length : broken;
  }
  return out;
}

bool is_white_space(char32_t point) {
  return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 ||
         point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
         point == 0x202f || point == 0x205f || point == 0x3000;
}

bool is_numeric(char32_t point) {
  const auto c = category(point);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t point) {
  if (point < 0x80) {
    return (point >= 0x21 && point <= 0x2f) || (point >= 0x3a && point <= 0x40) ||
           (point >= 0x5b && point <= 0x60) || (point >= 0x7b && point <= 0x7e);
  }
  const auto c = category(point);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool is_mark(char32_t point) {
  const auto c = category(point);
  return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(char32_t point) {
  return category(point) == UTF8PROC_CATEGORY_MN;
}

bool is_word(char32_t point) {
  const auto c = category(point);
  if ((c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || is_mark(point)) return true;
  if (c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_PC) return true;
  // Other_Alphabetic outside L, M and Nl (circled and squared letters), and Join_Control.
  return (point >= 0x24b6 && point <= 0x24e9) || (point >= 0x1f130 && point <= 0x1f149) ||
         (point >= 0x1f150 && point <= 0x1f169) || (point >= 0x1f170 && point <= 0x1f189) ||
         point == 0x200c || point == 0x200d;
}

bool is_invisible(char32_t point) {
  const auto c = category(point);
  return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_ZL ||
         c == UTF8PROC_CATEGORY_ZP || c == UTF8PROC_CATEGORY_CN;
}

size_t grapheme_length(std::string_view text, size_t at) {
  size_t end = at;
  auto last = static_cast<utf8proc_int32_t>(next_code_point(text, end));
  utf8proc_int32_t state = 0;
  for (size_t next = end; next < text.size(); end = next) {
    const auto point = static_cast<utf8proc_int32_t>(next_code_point(text, next));
    if (utf8proc_grapheme_break_stateful(last, point, &state)) break;
    last = point;
  }
  return end - at;
}

std::string normal_form(std::string_view text, NormalForm form) {
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  // Nothing below U+0300 changes under NFC, nothing below U+00A0 under NFKC, and ASCII never does.
  const unsigned char inert_below = form == NormalForm::nfc ? 0xcc : form == NormalForm::nfkc ? 0xc2 : 0x80;
  if (std::all_of(text.begin(), text.end(), [&](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < inert_below;
      })) {
    return std::string(text);
  }
  int options = UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (compatible) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  require(length >= 0, "cannot normalise a text of {} bytes: {}", text.size(), utf8proc_errmsg(length));
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const char32_t point = next_code_point(text, i);
    if (point == 0x130) {  // the one unconditional multi-character lower case in SpecialCasing.txt
      out += "i\u0307";
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point))));
    }
  }
  return out;
}

const std::array<std::string, 256>& byte_alphabet() {
  // Printable Latin-1 bytes stand for themselves; the others, in order, for U+0100 and up.
  static const std::array<std::string, 256> alphabet = [] {
    std::array<std::string, 256> out;
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable_byte =
          (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      append_utf8(out[static_cast<size_t>(byte)], printable_byte ? static_cast<char32_t>(byte) : next++);
    }
    return out;
  }();
  return alphabet;
}

int byte_of_alphabet(char32_t point) {
  static const std::array<int, 0x144> bytes = [] {
    std::array<int, 0x144> out;
    out.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte) {
      size_t at = 0;
      out[next_code_point(byte_alphabet()[byte], at)] = static_cast<int>(byte);
    }
    return out;
  }();
  return point < bytes.size() ? bytes[point] : -1;
}

std::string spell_bytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) out += byte_alphabet()[static_cast<unsigned char>(c)];
  return out;
}

bool unspell_bytes(std::string_view spelling, std::string& bytes) {
  bytes.clear();
  for (size_t i = 0; i < spelling.size();) {
    const int byte = byte_of_alphabet(next_code_point(spelling, i));
    if (byte < 0) return false;
    bytes += static_cast<char>(byte);
  }
  return true;
}

int byte_of_fallback_piece(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace outliers::text
