// A pattern is a list of alternatives, tried in order at each place. Every alternative here begins with at
// most one optional character and goes on with runs of classes, so that what a backtracking matcher would
// find can be said at once; the comments give the alternative.
#include "outliers/text/scanner.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "outliers/text/patterns.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

constexpr unsigned letter = upper_class | lower_class | caseless_class;
constexpr unsigned white = newline_class | space_class;
constexpr unsigned symbol = mark_class | other_class;                     // [^\s\p{L}\p{N}]
constexpr unsigned before_word = mark_class | other_class | space_class;  // [^\r\n\p{L}\p{N}]
constexpr unsigned word_head = upper_class | caseless_class | mark_class;
constexpr unsigned word_tail = lower_class | caseless_class | mark_class;

// Classes in blocks of 256 code points; equal blocks are kept once.
class Table {
 public:
  Table() {
    static constexpr const char* runs =
#include "outliers/text/data/categories.inc"
        ;
    std::array<unsigned char, 256> block;
    std::vector<std::array<unsigned char, 256>> blocks;
    size_t point = 0;
    for (const char* at = runs; *at != '\0';) {
      const unsigned char value = of_letter(*at);
      char* end = nullptr;
      size_t left = std::strtoul(at + 1, &end, 16);
      for (at = end; left > 0;) {
        const size_t here = std::min(left, block.size() - point % block.size());
        std::fill_n(block.begin() + static_cast<ptrdiff_t>(point % block.size()), here, value);
        point += here;
        left -= here;
        if (point % block.size() != 0) continue;
        // Long runs fill whole blocks alike: looking at the last one is enough to keep the table small.
        if (blocks.empty() || blocks.back() != block) blocks.push_back(block);
        block_of_[point / block.size() - 1] = static_cast<uint16_t>(blocks.size() - 1);
      }
    }
    classes_ = std::make_unique<unsigned char[]>(blocks.size() * block.size());
    for (size_t i = 0; i < blocks.size(); ++i)
      std::copy(blocks[i].begin(), blocks[i].end(), &classes_[i * block.size()]);
    std::copy_n(classes_.get(), ascii.size(), ascii.begin());
  }

  unsigned of(char32_t point) const {
    return classes_[size_t{block_of_[point >> 8]} << 8 | (point & 0xff)];
  }

  std::array<unsigned char, 128> ascii;

 private:
  static unsigned char of_letter(char c) {
    switch (c) {
      case 'U':
        return upper_class;
      case 'L':
        return lower_class;
      case 'O':
        return caseless_class;
      case 'M':
        return mark_class;
      case 'N':
        return number_class;
      case 'R':
        return newline_class;
      case 'S':
        return space_class;
      default:
        return other_class;
    }
  }

  std::array<uint16_t, 0x1100> block_of_ = {};
  std::unique_ptr<unsigned char[]> classes_;
};

const Table& table() {
  static const Table one;
  return one;
}

class Text {
 public:
  explicit Text(std::string_view text) : text_(text) {}

  size_t size() const { return text_.size(); }
  char operator[](size_t at) const { return text_[at]; }

  /// The class of the character at `at`, 0 at the end; `next` gets the place behind it.
  unsigned at(size_t at, size_t& next) const {
    if (at == text_.size()) return next = at, 0;
    const auto lead = static_cast<unsigned char>(text_[at]);
    if (lead < 0x80) return next = at + 1, table_.ascii[lead];
    next = at;
    return table_.of(next_code_point(text_, next));
  }
  unsigned at(size_t place) const {
    size_t next;
    return at(place, next);
  }

  /// The end of the run of characters of these classes that starts at `at`.
  size_t run(size_t at, unsigned classes) const {
    for (size_t next; this->at(at, next) & classes; at = next) {
    }
    return at;
  }
  size_t run(size_t at, unsigned classes, int most) const {
    for (size_t next; most > 0 && this->at(at, next) & classes; at = next) --most;
    return at;
  }
  template <typename Is>
  size_t run_bytes(size_t at, Is is) const {
    while (at < text_.size() && is(text_[at])) ++at;
    return at;
  }

  /// Length of an English contraction at `at` ('s 't 're 've 'm 'll 'd), or 0.
  template <bool any_case>
  size_t contraction(size_t at) const {
    if (at + 1 >= text_.size() || text_[at] != '\'') return 0;
    const auto lower = [&](size_t i) -> char {
      if (i >= text_.size()) return '\0';
      const char c = text_[i];
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    const char first = lower(at + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if (((first == 'r' || first == 'v') && lower(at + 2) == 'e') || (first == 'l' && lower(at + 2) == 'l'))
      return 3;
    // The long s is an s in another case.
    return any_case && text_.substr(at + 1).starts_with("ſ") ? 3 : 0;
  }

  /// \s+(?!\S)|\s+ at white space: all of a run at the end of the text; elsewhere all but its last character,
  /// which belongs to what follows, or that one alone.
  size_t blanks(size_t at) const {
    size_t end = at, last = at;
    for (size_t next; this->at(end, next) & white; end = next) last = end;
    return end == text_.size() || last == at ? end : last;
  }

  /// \s*[\r\n]+ : up to the last newline of a run of white space; `at` where there is none.
  size_t lines(size_t at) const {
    size_t end = at;
    for (size_t i = at, next;; i = next) {
      const unsigned here = this->at(i, next);
      if ((here & white) == 0) return end;
      if (here == newline_class) end = next;
    }
  }

 private:
  std::string_view text_;
  const Table& table_ = table();
};

bool is_newline(char c) {
  return c == '\r' || c == '\n';
}

// gpt2_pattern
size_t next_gpt2(const Text& text, size_t at) {
  if (const size_t length = text.contraction<false>(at)) return at + length;
  size_t behind, end;
  unsigned here = text.at(at, behind);
  if (text[at] == ' ') here = text.at(at + 1, behind);  //  ?\p{L}+ and the two after it
  for (const unsigned classes : {letter, unsigned{number_class}, symbol}) {
    if ((end = here & classes ? text.run(behind, classes) : 0)) return end;
  }
  return text.blanks(at);
}

// llama3_pattern and qwen2_pattern, but for the digits in a number.
template <int digits>
size_t next_llama3(const Text& text, size_t at) {
  if (const size_t length = text.contraction<true>(at)) return at + length;
  size_t behind, further;
  const unsigned here = text.at(at, behind);
  if (here & letter) return text.run(behind, letter);  // [^\r\n\p{L}\p{N}]?\p{L}+
  const unsigned then = text.at(behind, further);
  if (here & before_word && then & letter) return text.run(further, letter);
  if (here & number_class) return text.run(behind, number_class, digits - 1);  // \p{N}{1,3}
  // ?[^\s\p{L}\p{N}]+[\r\n]*
  if (here & symbol) return text.run_bytes(text.run(behind, symbol), is_newline);
  if (text[at] == ' ' && then & symbol) return text.run_bytes(text.run(further, symbol), is_newline);
  const size_t lines = text.lines(at);
  return lines > at ? lines : text.blanks(at);
}

// [head]*[tail]+ from `at`, or 0. The tail takes at least one character: the one behind the heads, or the
// last head that may also be a tail.
size_t word_with_tail(const Text& text, size_t at) {
  size_t next, last = 0;
  for (unsigned here; (here = text.at(at, next)) & word_head; at = next) {
    if (here & word_tail) last = next;
  }
  return text.at(at) & word_tail ? text.run(at, word_tail) : last;
}

// gpt4o_pattern; tekken_pattern has no contractions, and numbers of one digit.
template <int digits, bool contractions>
size_t next_gpt4o(const Text& text, size_t at) {
  size_t behind, further;
  const unsigned here = text.at(at, behind);
  // Two alternatives: [^\r\n\p{L}\p{N}]?[head]*[tail]+ and [^\r\n\p{L}\p{N}]?[head]+[tail]*, each first with
  // the optional character and then without it.
  const bool optional = here & before_word;
  size_t end = optional ? word_with_tail(text, behind) : 0;
  if (end == 0 && here & (letter | mark_class)) end = word_with_tail(text, at);
  if (end == 0 && optional && text.at(behind) & word_head) end = text.run(behind, word_head);
  if (end == 0 && here & word_head) end = text.run(at, word_head);
  if (end > 0) return contractions ? end + text.contraction<true>(end) : end;
  if (here & number_class) return text.run(behind, number_class, digits - 1);
  const auto tail = [](char c) { return is_newline(c) || c == '/'; };
  if (here & symbol) return text.run_bytes(text.run(behind, symbol), tail);
  if (text[at] == ' ' && text.at(behind, further) & symbol)
    return text.run_bytes(text.run(further, symbol), tail);
  const size_t lines = text.lines(at);
  return lines > at ? lines : text.blanks(at);
}

template <size_t (*next)(const Text&, size_t)>
void scan(std::string_view text, size_t base, std::vector<Span>& spans) {
  const Text inside(text);
  for (size_t at = 0; at < text.size();) {
    const size_t end = next(inside, at);
    spans.push_back({base + at, base + end});
    at = end;
  }
}

}  // namespace

Scan find_scanner(std::string_view pattern) {
  if (pattern == gpt2_pattern) return scan<next_gpt2>;
  if (pattern == llama3_pattern) return scan<next_llama3<3>>;
  if (pattern == qwen2_pattern) return scan<next_llama3<1>>;
  if (pattern == gpt4o_pattern) return scan<next_gpt4o<3, true>>;
  if (pattern == tekken_pattern) return scan<next_gpt4o<1, false>>;
  return nullptr;
}

CharacterClass character_class(char32_t point) {
  return static_cast<CharacterClass>(table().of(point));
}

}  // namespace outliers::text
