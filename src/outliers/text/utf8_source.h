// What a text file holds, as UTF-8.
#pragma once

#include <string>

#include "outliers/text/unpack.h"

namespace outliers::text {

/// Reads a text a piece at a time: UTF-8, whose byte order mark is removed, or UTF-16 with its mark.
/// Everything else is no text and throws one Error that begins with `name`: bytes that are no UTF-8, NUL,
/// formats known by their first bytes, UTF-16 and UTF-32 without a mark.
class Utf8Source {
 public:
  Utf8Source(ByteSource bytes, std::string name);
  /// Appends the next piece, of whole characters. False at the end.
  bool read(std::string& text);

 private:
  enum class Encoding { unknown, utf8, utf16_little, utf16_big };
  void choose(bool at_end);
  void append_utf8(std::string& text, bool at_end);
  void append_utf16(std::string& text, bool at_end);
  [[noreturn]] void refuse(const std::string& what) const;

  ByteSource bytes_;
  std::string name_;
  Encoding encoding_ = Encoding::unknown;
  std::string raw_;       ///< read and not yet decoded
  uint64_t decoded_ = 0;  ///< bytes before raw_
  bool at_end_ = false;
};

}  // namespace outliers::text
