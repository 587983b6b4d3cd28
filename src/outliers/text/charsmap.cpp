// The array's units are laid out as in Darts-clone: bits 0-7 the label, bit 8 "a key ends here", bits 10-30
// (shifted by 8 more where bit 9 is set) the offset to the children; a unit with bit 31 is a value.
#include "outliers/text/charsmap.h"

#include <cstring>

#include "outliers/core/error.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

size_t offset_of(uint32_t unit) {
  return size_t{unit >> 10} << ((unit & (1u << 9)) >> 6);
}
uint32_t label_of(uint32_t unit) {
  return unit & (1u << 31 | 0xff);
}
bool is_boundary(std::string_view text, size_t at) {
  return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
}

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string_view where) {
  uint32_t bytes = 0;
  require(blob.size() > sizeof bytes, "{}: {} bytes are too few for normalisation rules", where, blob.size());
  std::memcpy(&bytes, blob.data(), sizeof bytes);
  blob.remove_prefix(sizeof bytes);
  require(bytes >= 4 && bytes % 4 == 0 && bytes < blob.size(),
          "{}: the normalisation rules claim an array of {} bytes in {} bytes", where, bytes, blob.size());
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), blob.data(), bytes);
  replacements_ = blob.substr(bytes);
  require(is_valid_utf8(replacements_), "{}: the normalisation rules' replacements are not valid UTF-8",
          where);
  require(replacements_.back() == '\0', "{}: the last replacement of the normalisation rules does not end",
          where);
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool shortest) const {
  std::optional<Match> found;
  size_t at = offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) break;  // no key has a NUL
    at ^= byte;
    if (at >= units_.size() || label_of(units_[at]) != byte) break;
    const uint32_t unit = units_[at];
    at ^= offset_of(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (at >= units_.size()) break;
    const size_t value = units_[at] & ~(1u << 31);
    // Of a well-made file no key or replacement ends within a character; others must not make such text.
    if (value >= replacements_.size() || !is_boundary(replacements_, value) || !is_boundary(text, i + 1))
      continue;
    found = {i + 1, std::string_view(replacements_.c_str() + value)};
    if (shortest) break;
  }
  return found;
}

std::optional<Charsmap::Match> Charsmap::longest(std::string_view text, size_t at) const {
  return find(text.substr(at), false);
}

std::optional<Charsmap::Match> Charsmap::shortest(std::string_view text) const {
  return find(text, true);
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int value = c >= 'A' && c <= 'Z'                     ? c - 'A'
                      : c >= 'a' && c <= 'z'                   ? c - 'a' + 26
                      : c >= '0' && c <= '9'                   ? c - '0' + 52
                      : c == '+'                               ? 62
                      : c == '/'                               ? 63
                      : c == '=' && i >= text.size() - padding ? 0
                                                               : -1;
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 == 3) {
      for (const int shift : {16, 8, 0}) out += static_cast<char>(bits >> shift & 0xff);
      bits = 0;
    }
  }
  out.resize(out.size() - padding);
  return out;
}

}  // namespace outliers::text
