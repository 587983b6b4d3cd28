#include "outliers/text/utf8_source.h"

#include <algorithm>
#include <string_view>

#include <simdjson.h>

#include "outliers/core/error.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

using std::string_view_literals::operator""sv;

constexpr size_t kPiece = size_t{1} << 18;
constexpr std::string_view kMark = "\xef\xbb\xbf", kLittle = "\xff\xfe", kBig = "\xfe\xff";

/// What people name as a corpus that is none.
constexpr std::pair<std::string_view, const char*> kFormats[] = {
    {"\xfd"
     "7zXZ"sv,
     "an xz file; decompress it"},
    {"BZh"sv, "a bzip2 file; decompress it"},
    {"PK\x03\x04"sv, "a zip archive; unpack it"},
    {"7z\xbc\xaf"sv, "a 7z archive; unpack it"},
    {"\x04\x22\x4d\x18"sv, "an lz4 file; decompress it"},
    {"PAR1"sv,
     "a Parquet file, which cannot be read from a pipe or from inside of another file; save it to a file"},
    {"ARROW1"sv, "an Arrow file; write its rows as JSON lines"},
    {"%PDF"sv, "a PDF; extract its text"},
    {"\x7f"
     "ELF"sv,
     "a program"},
    {"GGUF"sv, "a model"},
    {"\xff\xfe\0\0"sv, "UTF-32; save it as UTF-8"},
    {"\0\0\xfe\xff"sv, "UTF-32; save it as UTF-8"},
};

/// Bytes of a character that begins in the last three and is not complete.
size_t unfinished(std::string_view bytes) {
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return length > back ? back : 0;
  }
  return 0;
}

}  // namespace

Utf8Source::Utf8Source(ByteSource bytes, std::string name)
    : bytes_(std::move(bytes)), name_(std::move(name)) {}

void Utf8Source::refuse(const std::string& what) const {
  fail("{} is no text: {}; a corpus is UTF-8, or UTF-16 with its byte order mark", name_, what);
}

void Utf8Source::choose(bool at_end) {
  constexpr size_t longest = 8;
  if (raw_.size() < longest && !at_end) return;
  for (const auto& [magic, what] : kFormats) {
    if (raw_.starts_with(magic)) fail("{} is no text but {}", name_, what);
  }
  encoding_ = raw_.starts_with(kLittle) ? Encoding::utf16_little
              : raw_.starts_with(kBig)  ? Encoding::utf16_big
                                        : Encoding::utf8;
  const size_t mark = raw_.starts_with(kMark)       ? kMark.size()
                      : encoding_ == Encoding::utf8 ? 0
                                                    : kLittle.size();
  raw_.erase(0, mark);
  decoded_ += mark;
}

void Utf8Source::append_utf8(std::string& text, bool at_end) {
  const size_t whole = raw_.size() - (at_end ? 0 : unfinished(raw_));
  const std::string_view bytes = std::string_view(raw_).substr(0, whole);
  if (const size_t nul = bytes.find('\0'); nul != std::string_view::npos) {
    const size_t other = bytes.find('\0', nul + 1);
    refuse(fmt::format(
        "byte {} is NUL{}", decoded_ + nul,
        decoded_ == 0 && nul < 2 && other == nul + 2 ? " (this may be UTF-16 without its mark)" : ""));
  }
  if (!simdjson::validate_utf8(bytes.data(), bytes.size())) {
    size_t at = 0;
    for (size_t length = 0; at < bytes.size() && (length = valid_sequence(bytes, at)) > 0;) at += length;
    refuse(fmt::format("byte {} is not UTF-8", decoded_ + at));
  }
  text += bytes;
  raw_.erase(0, whole);
  decoded_ += whole;
}

void Utf8Source::append_utf16(std::string& text, bool at_end) {
  const auto unit = [&](size_t at) {
    const auto first = static_cast<unsigned char>(raw_[at]),
               second = static_cast<unsigned char>(raw_[at + 1]);
    return static_cast<char32_t>(encoding_ == Encoding::utf16_little ? first | second << 8
                                                                     : first << 8 | second);
  };
  size_t at = 0;
  while (at + 2 <= raw_.size()) {
    char32_t point = unit(at);
    size_t length = 2;
    if (point == 0) refuse(fmt::format("the character at byte {} is NUL", decoded_ + at));
    if (point >= 0xd800 && point < 0xe000) {
      if (point < 0xdc00 && at + 4 > raw_.size() && !at_end) break;
      const char32_t low = point < 0xdc00 && at + 4 <= raw_.size() ? unit(at + 2) : 0;
      if (low < 0xdc00 || low >= 0xe000) {
        refuse(fmt::format("byte {} is not UTF-16: half a surrogate pair", decoded_ + at));
      }
      point = 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00));
      length = 4;
    }
    text::append_utf8(text, point);
    at += length;
  }
  if (at_end && at < raw_.size()) refuse("its UTF-16 ends inside a character");
  raw_.erase(0, at);
  decoded_ += at;
}

bool Utf8Source::read(std::string& text) {
  if (at_end_) return false;
  const size_t before = raw_.size();
  raw_.resize(before + kPiece);
  const size_t got = bytes_(raw_.data() + before, kPiece);
  raw_.resize(before + got);
  at_end_ = got == 0;
  if (encoding_ == Encoding::unknown) choose(at_end_);
  if (encoding_ == Encoding::utf8) append_utf8(text, at_end_);
  if (encoding_ == Encoding::utf16_little || encoding_ == Encoding::utf16_big) append_utf16(text, at_end_);
  return true;
}

}  // namespace outliers::text
