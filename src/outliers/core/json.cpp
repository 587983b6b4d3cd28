#include "outliers/core/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/utf8.h"

namespace outliers {
namespace {

constexpr int kDeepest = 1000;
constexpr std::string_view kMark = "\xef\xbb\xbf";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool fits_64_bits(std::string_view token) {
  int64_t negative = 0;
  uint64_t positive = 0;
  const auto result = token.starts_with('-')
                          ? std::from_chars(token.data(), token.data() + token.size(), negative)
                          : std::from_chars(token.data(), token.data() + token.size(), positive);
  return result.ec == std::errc();
}

// Reads one text by the grammar of Python's json.decoder and writes it anew.
class Rewriter {
 public:
  Rewriter(std::string_view text, const std::string& where, std::string_view not_finite)
      : text_(text), where_(where), not_finite_(not_finite) {}

  std::string run() {
    if (text_.starts_with(kMark)) at_ = kept_ = kMark.size();
    blank();
    if (at_ == text_.size()) stop("there is nothing in it");
    value(1);
    blank();
    if (at_ < text_.size()) stop("there is more behind its end");
    keep(text_.size());
    return std::move(out_);
  }

 private:
  [[noreturn]] void stop(const std::string& reason) const {
    const std::string_view before = text_.substr(0, at_);
    if (text_.substr(0, text_.find_last_not_of("\r\n") + 1).find('\n') == std::string_view::npos)
      fail("{}: this is not valid JSON: byte {}: {}", where_, at_ + 1, reason);
    const size_t begin = before.rfind('\n') + 1;  // 0 in the first line
    const auto column = std::count_if(before.begin() + static_cast<std::ptrdiff_t>(begin), before.end(),
                                      [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    fail("{}: this is not valid JSON: line {}, column {}: {}", where_,
         std::count(before.begin(), before.end(), '\n') + 1, column + 1, reason);
  }
  [[noreturn]] void wanted(const char* what) const {
    if (at_ == text_.size()) stop(fmt::format("the text ends where {} should be", what));
    const size_t length = std::max<size_t>(1, valid_sequence(text_, at_));
    stop(fmt::format("{} should be here, not '{}'", what, printable(std::string(text_.substr(at_, length)))));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void blank() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }
  // Copies what was read up to `end` and goes on behind what `with` replaces.
  void keep(size_t end) {
    out_.append(text_, kept_, end - kept_);
    kept_ = end;
  }
  void replace(size_t begin, std::string_view with) {
    keep(begin);
    out_ += with;
    kept_ = at_;
  }
  bool word(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  void value(int depth) {
    if (depth > kDeepest) stop(fmt::format("values are nested deeper than {}", kDeepest));
    const size_t begin = at_;
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      default:
        if (word("true") || word("false") || word("null")) return;
        if (word("NaN") || word("Infinity") || word("-Infinity")) return replace(begin, not_finite_);
        number();
    }
  }

  void object(int depth) {
    ++at_;
    blank();
    if (peek() == '}') {
      ++at_;
      return;
    }
    while (true) {
      blank();
      if (peek() != '"') wanted("a key in double quotes");
      string();
      blank();
      if (peek() != ':') wanted("':'");
      ++at_;
      blank();
      value(depth + 1);
      blank();
      const char next = peek();
      if (next != ',' && next != '}') wanted("',' or '}'");
      ++at_;
      if (next == '}') return;
    }
  }

  void array(int depth) {
    ++at_;
    blank();
    if (peek() == ']') {
      ++at_;
      return;
    }
    while (true) {
      blank();
      value(depth + 1);
      blank();
      const char next = peek();
      if (next != ',' && next != ']') wanted("',' or ']'");
      ++at_;
      if (next == ']') return;
    }
  }

  std::optional<unsigned> escaped_unit(size_t at) const {
    if (at + 6 > text_.size() || text_[at] != '\\' || text_[at + 1] != 'u') return std::nullopt;
    unsigned unit = 0;
    for (size_t i = at + 2; i < at + 6; ++i) {
      const auto c = static_cast<unsigned char>(text_[i]);
      const int digit = is_digit(text_[i])     ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return std::nullopt;
      unit = unit * 16 + static_cast<unsigned>(digit);
    }
    return unit;
  }

  void string() {
    const size_t begin = at_++;
    while (true) {
      if (at_ == text_.size()) {
        at_ = begin;
        stop("the string that begins here has no end");
      }
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        ++at_;
        return;
      }
      if (c < 0x20) stop("a string has a control character, which should be escaped");
      if (c == '\\') {
        escape();
        continue;
      }
      const size_t length = valid_sequence(text_, at_);
      if (length == 0) stop("this is not UTF-8");
      at_ += length;
    }
  }

  void escape() {
    if (at_ + 1 < text_.size() &&
        std::string_view("\"\\/bfnrt").find(text_[at_ + 1]) != std::string_view::npos) {
      at_ += 2;
      return;
    }
    const size_t begin = at_;
    const std::optional<unsigned> unit = escaped_unit(at_);
    if (!unit) stop("a string has an unknown escape");
    at_ += 6;
    if (*unit < 0xd800 || *unit > 0xdfff) return;
    const std::optional<unsigned> second = *unit < 0xdc00 ? escaped_unit(at_) : std::nullopt;
    if (second && *second >= 0xdc00 && *second <= 0xdfff) {
      at_ += 6;
    } else {
      replace(begin, "\\ufffd");
    }
  }

  void digits() {
    if (!is_digit(peek())) wanted("a digit");
    while (is_digit(peek())) ++at_;
  }

  void number() {
    const size_t begin = at_;
    if (peek() == '-') ++at_;
    if (!is_digit(peek())) {
      if (at_ == begin) wanted("a value");
      wanted("a digit");
    }
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    const size_t whole = at_;
    if (peek() == '.') {
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    constexpr size_t safe = 18;  // digits that always fit 64 bits
    if (at_ == whole && whole - begin <= safe) return;
    const std::string token(text_.substr(begin, at_ - begin));
    const double value = std::strtod(token.c_str(), nullptr);
    if (!std::isfinite(value)) {
      replace(begin, not_finite_);
    } else if (at_ == whole && !fits_64_bits(token)) {
      replace(begin, fmt::format("{:.17e}", value));
    }
  }

  std::string_view text_;
  const std::string& where_;
  std::string_view not_finite_;
  size_t at_ = 0, kept_ = 0;
  std::string out_;
};

}  // namespace

std::string strict_json(std::string_view text, const std::string& where, std::string_view not_finite) {
  return Rewriter(text, where, not_finite).run();
}

bool may_be_too_deep(std::string_view text) {
  int depth = 0, deepest = 0;
  for (const char c : text) {
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    deepest = std::max(deepest, depth);
  }
  return deepest > kDeepest;
}

template <typename Json>
Json parse_json(std::string_view text, const std::string& where, std::string_view not_finite) {
  if (!may_be_too_deep(text)) {
    Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!value.is_discarded()) return value;
  }
  return Json::parse(strict_json(text, where, not_finite));
}
template nlohmann::json parse_json(std::string_view, const std::string&, std::string_view);
template nlohmann::ordered_json parse_json(std::string_view, const std::string&, std::string_view);

}  // namespace outliers
