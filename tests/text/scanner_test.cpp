// The scanners against the patterns they stand for, cut by cut, on random strings of the characters at which
// patterns turn; and their table of classes against PCRE2's properties.
#include "outliers/text/scanner.h"

#include <random>

#include <gtest/gtest.h>

#include "outliers/text/patterns.h"
#include "outliers/text/regex.h"
#include "outliers/text/unicode.h"

#include "golden.h"

namespace outliers::text {
namespace {

// All properties that the patterns ask for, as the regular expression at hand has them; 0 for an unassigned
// code point.
CharacterClass class_by_pattern(char32_t point) {
  static const std::vector<std::pair<Regex, CharacterClass>> rows = [] {
    std::vector<std::pair<Regex, CharacterClass>> out;
    out.emplace_back(Regex(R"([\r\n])"), newline_class);
    out.emplace_back(Regex(R"(\s)"), space_class);
    out.emplace_back(Regex(R"([\p{Lu}\p{Lt}])"), upper_class);
    out.emplace_back(Regex(R"(\p{Ll})"), lower_class);
    out.emplace_back(Regex(R"([\p{Lm}\p{Lo}])"), caseless_class);
    out.emplace_back(Regex(R"(\p{M})"), mark_class);
    out.emplace_back(Regex(R"(\p{N})"), number_class);
    out.emplace_back(Regex(R"(\P{Cn})"), other_class);
    return out;
  }();
  std::string text;
  append_utf8(text, point);
  for (const auto& [regex, value] : rows) {
    if (regex.find(text, 0)) return value;
  }
  return CharacterClass{};
}

// Code points that both sides know alike. The scanner's younger Unicode may know more; assigned ones agree,
// but for the few whose category Unicode has changed since.
const std::vector<char32_t>& shared_points() {
  static const std::vector<char32_t> points = [] {
    std::vector<char32_t> out;
    int changed = 0;
    for (char32_t point = 0; point < 0x110000; ++point) {
      if (point >= 0xd800 && point < 0xe000) continue;
      const CharacterClass expected = class_by_pattern(point);
      if (expected == character_class(point)) {
        out.push_back(point);
      } else if (expected != 0) {
        ++changed;
      }
    }
    EXPECT_LE(changed, 4);
    return out;
  }();
  return points;
}

TEST(Classes, AreThoseOfThePatterns) {
  EXPECT_GT(shared_points().size(), 270000u);
  EXPECT_EQ(character_class(0x1c89), upper_class);      // Unicode 16
  EXPECT_EQ(character_class(0x105c0), caseless_class);  // Unicode 16
  EXPECT_EQ(character_class(0x31350), caseless_class);  // Unicode 15
  EXPECT_EQ(character_class(0x3ffff), other_class);     // unassigned
  EXPECT_EQ(character_class(0x10ffff), other_class);
}

// The characters that decide, many times as likely as the rest.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> deciding = {
      " ",      " ",    " ",      "\n",     "\r",     "\t",     "\v",     "\u00a0", "\u3000", "\u0085",
      "\u2028", "'",    "'",      "'s",     "'S",     "'t",     "'RE",    "'ve",    "'m",     "'lL",
      "'D",     "'ſ",   "ſ",      "s",      "l",      "L",      "r",      "e",      "E",      "a",
      "Z",      "ǅ",    "ʰ",      "日",     "א",      "\u0301", "\u0903", "\u20dd", "0",      "7",
      "Ⅳ",      "½",    "٣",      "!",      ".",      "/",      "/",      "-",      "_",      "(",
      "€",      "🙂", "\u200d", "\u180e", "\ufeff", "\ufffd", "\x01",   "\x7f",   "é",      "ß"};
  std::string out;
  for (auto left = random() % 14; left > 0; --left) {
    if (random() % 8 == 0) {
      append_utf8(out, shared_points()[random() % shared_points().size()]);
    } else {
      out += deciding[random() % deciding.size()];
    }
  }
  return out;
}

class Scanners : public testing::TestWithParam<const char*> {};

TEST_P(Scanners, CutWherePatternsDo) {
  const Scan scan = find_scanner(GetParam());
  ASSERT_NE(scan, nullptr);
  const Regex regex(GetParam());
  std::vector<Span> spans;
  const auto same = [&](const std::string& text) {
    spans.clear();
    scan(text, 100, spans);
    size_t at = 0;
    for (const Span& span : spans) {
      const auto match = regex.find(text, at);
      if (!match || match->first != at || span.begin != 100 + at || span.end != 100 + match->second)
        return false;
      at = match->second;
    }
    return at == text.size();
  };
  std::mt19937 random(11);
  const int rounds =
      std::getenv("OUTLIERS_SCANNER_ROUNDS") ? std::atoi(std::getenv("OUTLIERS_SCANNER_ROUNDS")) : 60000;
  for (int i = 0; i < rounds; ++i) {
    const std::string text = random_text(random);
    ASSERT_TRUE(same(text)) << "round " << i << ": " << printable(text, 300);
  }
  for (const std::string& bytes : golden_strings()) {
    // Characters that only the scanner's Unicode knows are cut otherwise by the pattern at hand.
    const std::string text = replace_invalid_utf8(bytes);
    bool young = false;
    for (size_t at = 0; at < text.size() && !young;) {
      const char32_t point = next_code_point(text, at);
      young = point > 0x7f && !std::binary_search(shared_points().begin(), shared_points().end(), point);
    }
    ASSERT_TRUE(young || same(text)) << printable(text, 300);
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns, Scanners,
                         testing::Values(gpt2_pattern, llama3_pattern, qwen2_pattern, gpt4o_pattern,
                                         tekken_pattern));

TEST(Scanners, AreFoundByTheirPatternsOnly) {
  EXPECT_EQ(find_scanner(R"(\p{L}+)"), nullptr);
  EXPECT_EQ(find_scanner(""), nullptr);
}

}  // namespace
}  // namespace outliers::text
