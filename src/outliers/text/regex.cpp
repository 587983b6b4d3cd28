// Translation to PCRE2 and matching with its JIT.
#include "outliers/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "outliers/core/error.h"

namespace outliers::text {
namespace {

// Unicode's White_Space. PCRE2's own \s adds U+180E.
constexpr const char* white_space =
    R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr const char* not_white_space =
    R"(\x{0}-\x{8}\x{e}-\x{1f}!-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e})"
    R"(\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// UTS 18's \w as Oniguruma has it: Alphabetic, M, Nd, Pc. PCRE2 10.42's own \w lacks M and Pc.
constexpr const char* word =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        character_class();
      } else if (c == '(') {
        group();
      } else if (c == '}' && quantifier_open_ && at_ + 1 < in_.size() && in_[at_ + 1] == '+') {
        refuse("an interval followed by +");  // Ruby: repeated; PCRE2: possessive
      } else {
        quantifier_open_ = c == '{' || (quantifier_open_ && c != '}');
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(kUnsupported, "the pattern {} has {} at byte {}, which is not supported",
         printable(std::string(in_)), what, at_);
  }

  char peek(size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  void copy(size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }
  void replace(size_t count, std::string_view with) {
    out_ += with;
    at_ += count;
  }

  // Copies through the closing brace of \p{...}, \x{...}, or \k<...>.
  void copy_braced(char close) {
    const size_t end = in_.find(close, at_);
    if (end == std::string_view::npos) refuse("an escape that does not end");
    copy(end + 1 - at_);
  }

  void escape(bool in_class) {
    const std::string open = in_class ? "" : "[";
    const std::string close = in_class ? "" : "]";
    switch (peek(1)) {
      case '\0':
        refuse("a lone backslash at its end");
      case 's':
        return replace(2, open + white_space + close);
      case 'S':
        return replace(2, open + not_white_space + close);
      case 'w':
        return replace(2, open + word + close);
      case 'W':
        if (in_class) refuse("\\W inside a class");
        return replace(2, std::string("[^") + word + "]");
      case 'd':
        return replace(2, "\\p{Nd}");
      case 'D':
        return replace(2, "\\P{Nd}");
      case 'h':
        return replace(2, open + "0-9A-Fa-f" + close);
      case 'H':
        if (in_class) refuse("\\H inside a class");
        return replace(2, "[^0-9A-Fa-f]");
      case 'v':
        return replace(2, "\\x0b");
      case 'b':
      case 'B': {
        if (in_class) return copy(2);
        const std::string w = std::string("[") + word + "]";
        const bool inside = peek(1) == 'B';
        return replace(2, fmt::format("(?:(?<={0})(?{1}{0})|(?<!{0})(?{2}{0}))", w, inside ? '=' : '!',
                                      inside ? '!' : '='));
      }
      case 'p':
      case 'P':
        if (peek(2) == '{') return copy_braced('}');
        refuse("\\p without braces");
      case 'x':
        return peek(2) == '{' ? copy_braced('}') : copy(2);
      case 'u':
        for (size_t i = 2; i < 6; ++i) {
          if (!std::isxdigit(static_cast<unsigned char>(peek(i))))
            refuse("a \\u without four hexadecimal digits");
        }
        return replace(6, fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4)));
      case 'k':
        return copy_braced('>');
      case 'g':
      case 'K':
      case 'N':
      case 'O':
      case 'y':
      case 'Y':
      case 'c':
      case 'C':
      case 'M':
      case 'o':
      case 'R':
      case 'X':
      case 'Q':
      case 'E':
        refuse(fmt::format("\\{}", peek(1)));
      default:
        return copy(2);
    }
  }

  void character_class() {
    copy(1);
    if (peek(0) == '^') copy(1);
    if (peek(0) == ']') refuse("a class that starts with ]");
    while (at_ < in_.size() && in_[at_] != ']') {
      if (in_[at_] == '\\') {
        escape(true);
      } else if (in_[at_] == '[') {
        refuse(peek(1) == ':' ? "a POSIX class" : "a class inside a class");
      } else if (in_[at_] == '&' && peek(1) == '&') {
        refuse("an intersection of classes");
      } else {
        copy(1);
      }
    }
    if (at_ == in_.size()) refuse("a class that does not end");
    copy(1);
  }

  void group() {
    if (peek(1) == '*') refuse("a verb");
    copy(1);
    if (peek(0) != '?') return;
    copy(1);
    const char kind = peek(0);
    if (kind == '~' || kind == '(' || kind == 'R' || kind == '&' || kind == 'P' || kind == '|' ||
        kind == 'C') {
      refuse("a group of an unknown kind");
    }
    if (kind == ':' || kind == '=' || kind == '!' || kind == '>' || kind == '<' || kind == '#') return;
    for (; at_ < in_.size() && in_[at_] != ':' && in_[at_] != ')'; ++at_) {
      const char c = in_[at_];
      if (c == 'm') {
        out_ += 's';  // Ruby's m lets the dot match a newline
      } else if (c == 'i' || c == 'x' || c == '-') {
        out_ += c;
      } else {
        refuse("an option other than i, m, x");
      }
    }
  }

  std::string_view in_;
  std::string out_;
  size_t at_ = 0;
  bool quantifier_open_ = false;
};

// What a thread needs to match: PCRE2's compiled patterns are shared, these are not.
struct Matcher {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, 64 << 20, nullptr);
  Matcher() {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, 1u << 30);
  }
  ~Matcher() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

std::string error_text(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

std::string translate_pattern(std::string_view pattern) {
  return Translator(pattern).run();
}

Regex::Regex(std::string_view pattern) : pattern_(pattern) {
  const std::string translated = translate_pattern(pattern);
  int error = 0;
  PCRE2_SIZE where = 0;
  // Ruby's ^ and $ are those of lines, hence MULTILINE.
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &where, nullptr);
  require(code != nullptr, "the pattern {} does not compile: {} (near byte {} of its translation)",
          printable(pattern_), error_text(error), where);
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  jit_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

std::optional<std::pair<size_t, size_t>> Regex::find(std::string_view text, size_t from) const {
  thread_local Matcher matcher;
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int found =
      jit_ ? pcre2_jit_match(code, subject, text.size(), from, 0, matcher.data, matcher.context)
           : pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, matcher.data, matcher.context);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) {
    fail("the pattern {} failed on a text of {} bytes: {}", printable(pattern_), text.size(),
         error_text(found));
  }
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(matcher.data);
  return std::pair<size_t, size_t>(range[0], range[1]);
}

}  // namespace outliers::text
