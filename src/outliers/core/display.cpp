#include "outliers/core/display.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include "outliers/core/error.h"

namespace outliers {
namespace {

/// Length of the valid UTF-8 sequence at text[at], or 0; `point` gets what it stands for.
size_t utf8_length(std::string_view text, size_t at, utf8proc_int32_t& point) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
  const utf8proc_ssize_t length =
      utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
  return length > 0 ? static_cast<size_t>(length) : 0;
}

bool is_joiner(utf8proc_int32_t point) {
  return point == 0x200c || point == 0x200d;
}

/// `before`: the code point in front, 0 where there is none or it is an escape.
bool is_hidden(utf8proc_int32_t point, utf8proc_int32_t before) {
  // Within Indic, Persian or Arabic words and emoji joiners choose a form; after anything else they hide.
  if (is_joiner(point)) return before < 0x300;
  if ((point >= 0xfe00 && point <= 0xfe0f) || (point >= 0x180b && point <= 0x180f && point != 0x180e))
    return false;  // variation selectors of emoji and Mongolian
  if ((point >= 0xfff9 && point <= 0xfffb) || utf8proc_get_property(point)->ignorable) return true;
  const utf8proc_category_t category = utf8proc_category(point);
  return category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

std::string escape(utf8proc_int32_t point) {
  return point <= 0xffff ? fmt::format("\\u{:04x}", static_cast<uint32_t>(point))
                         : fmt::format("\\U{:08x}", static_cast<uint32_t>(point));
}

}  // namespace

std::string escape_hidden(std::string_view text) {
  std::string out;
  utf8proc_int32_t before = 0;
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t point = 0;
    const size_t length = utf8_length(text, i, point);
    const bool hidden = length > 0 && is_hidden(point, before);
    if (hidden) {
      out += escape(point);
    } else {
      out.append(text, i, std::max<size_t>(length, 1));
    }
    before = hidden || length == 0 ? 0 : point;
    i += std::max<size_t>(length, 1);
  }
  return out;
}

std::string printable(const std::string& text, size_t limit) {
  std::string out;
  utf8proc_int32_t before = 0;
  for (size_t i = 0; i < text.size();) {
    if (out.size() >= limit) return out + "...";
    utf8proc_int32_t point = 0;
    const size_t length = utf8_length(text, i, point);
    const bool bytes = length == 0 || utf8proc_category(point) == UTF8PROC_CATEGORY_CC;
    const bool shown = !bytes && !is_hidden(point, before);
    if (shown) {
      out.append(text, i, length);
    } else if (!bytes) {
      out += escape(point);
    } else if (point == '\n' || point == '\t') {
      out += point == '\n' ? "\\n" : "\\t";
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    }
    before = shown ? point : 0;
    i += bytes ? 1 : length;  // the second byte of a control character beyond ASCII is one for itself
  }
  return out;
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t point = 0;
    const size_t length = utf8_length(text, i, point);
    // Syllables of Hangul that are spelled out stand in the columns of their first letter.
    const bool joins = point >= 0x1160 && point <= 0x11ff;
    width += length == 0 ? 1 : joins ? 0 : static_cast<size_t>(utf8proc_charwidth(point));
    i += std::max<size_t>(length, 1);
  }
  return width;
}

std::string shorten(std::string text, size_t columns) {
  if (display_width(text) <= columns) return text;
  if (columns == 0) return "";
  while (!text.empty() && display_width(text) > columns - 1) {
    while ((static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.pop_back();
    text.pop_back();
  }
  return text + "…";
}

}  // namespace outliers
