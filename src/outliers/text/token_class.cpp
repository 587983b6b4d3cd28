// The word list and the rules of token_class().
#include "outliers/text/token_class.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

// Sorted. Closed word classes of English only: no adverbs of time, no numerals, no contracted forms but the
// pieces that tokenizers make of them ("'s", "'t").
constexpr std::array words = std::to_array<std::string_view>({
    "'d",     "'ll",     "'m",      "'re",    "'s",    "'t",    "'ve",     "a",     "about",  "above",
    "after",  "against", "all",     "among",  "an",    "and",   "any",     "are",   "as",     "at",
    "be",     "because", "been",    "before", "being", "below", "between", "both",  "but",    "by",
    "can",    "could",   "did",     "do",     "does",  "down",  "during",  "each",  "either", "for",
    "from",   "had",     "has",     "have",   "he",    "her",   "his",     "i",     "if",     "in",
    "into",   "is",      "it",      "its",    "may",   "me",    "might",   "must",  "my",     "neither",
    "nor",    "not",     "of",      "off",    "on",    "onto",  "or",      "our",   "out",    "over",
    "shall",  "she",     "should",  "since",  "so",    "some",  "such",    "than",  "that",   "the",
    "their",  "them",    "then",    "there",  "these", "they",  "this",    "those", "though", "through",
    "to",     "under",   "until",   "up",     "upon",  "us",    "was",     "we",    "were",   "what",
    "when",   "where",   "whether", "which",  "while", "who",   "whom",    "whose", "will",   "with",
    "within", "without", "would",   "yet",    "you",   "your",
});
static_assert(std::is_sorted(words.begin(), words.end()));

bool is_strong(char32_t c) {
  return c == '.' || c == '!' || c == '?' || c == ';' || c == ':' || c == '\n' || c == '\r' || c == U'…' ||
         c == U'。' || c == U'！' || c == U'？' || c == U'；' || c == U'：';
}

bool is_quote_or_bracket(char32_t c) {
  return c == '"' || c == '\'' || c == ')' || c == ']' || c == '(' || c == '[' || c == '{' || c == '}' ||
         c == '`' || c == U'“' || c == U'”' || c == U'‘' || c == U'’' || c == U'«' || c == U'»' ||
         c == U'（' || c == U'）' || c == U'「' || c == U'」';
}

bool is_weak_mark(char32_t c) {
  return c == '_' || c == ',' || c == '-' || c == U'–' || c == U'—' || c == U'、' || c == U'，' ||
         is_white_space(c) || is_quote_or_bracket(c);
}

}  // namespace

const char* token_class_name(TokenClass value) {
  switch (value) {
    case TokenClass::initial:
      return "initial";
    case TokenClass::strong_delimiter:
      return "strong_delimiter";
    case TokenClass::weak_word:
      return "weak_word";
    case TokenClass::other:
      return "other";
  }
  return "other";
}

TokenClass token_class(const Tokenizer& tokenizer, int32_t id, int64_t position) {
  if (position == 0 || tokenizer.bos() == id) return TokenClass::initial;
  if (tokenizer.is_special(id)) return TokenClass::other;
  const std::string text = tokenizer.bytes(id);
  if (text.empty() || !is_valid_utf8(text)) return TokenClass::other;
  bool strong = false, only_strong = true, only_weak = true;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    strong = strong || is_strong(c);
    only_strong = only_strong && (is_strong(c) || is_quote_or_bracket(c) || is_white_space(c));
    only_weak = only_weak && is_weak_mark(c);
  }
  if (strong && only_strong) return TokenClass::strong_delimiter;
  if (only_weak) return TokenClass::weak_word;
  const size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  const std::string word = lowercase(std::string_view(text).substr(first, last + 1 - first));
  return std::binary_search(words.begin(), words.end(), word) ? TokenClass::weak_word : TokenClass::other;
}

at::Tensor token_classes(const Tokenizer& tokenizer, const at::Tensor& ids) {
  at::Tensor classes = at::empty_like(ids);
  const auto id = ids.accessor<int64_t, 2>();
  auto value = classes.accessor<int64_t, 2>();
  for (int64_t b = 0; b < ids.size(0); ++b) {
    for (int64_t t = 0; t < ids.size(1); ++t)
      value[b][t] = static_cast<int64_t>(token_class(tokenizer, static_cast<int32_t>(id[b][t]), t));
  }
  return classes;
}

}  // namespace outliers::text
