#include "outliers/core/display.h"

#include <gtest/gtest.h>

#include "outliers/core/error.h"

namespace outliers {
namespace {

TEST(Printable, KeepsText) {
  EXPECT_EQ(printable("blk.0.attn_q ▁日本 é"), "blk.0.attn_q ▁日本 é");
}

TEST(Printable, EscapesControlsAndInvalidUtf8) {
  EXPECT_EQ(printable("a\nb\t\x1b[31m"), "a\\nb\\t\\x1b[31m");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // C1: some terminals obey it
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(printable(std::string(500, 'a'), 10), "aaaaaaaaaa...");
}

TEST(Printable, EscapesWhatHides) {
  for (const char* text :
       {"\u200b", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u061c", "\u2028", "\u2029",
        "\u2060", "\ufeff", "\u00ad", "\u034f", "\u3164", "\ufff9", "\U000e0041"}) {
    EXPECT_EQ(printable(text).front(), '\\') << printable(text);
    EXPECT_EQ(escape_hidden(text), printable(text));
  }
  EXPECT_EQ(printable("model\u202efdp"), "model\\u202efdp");
  EXPECT_EQ(printable("\U000e0041"), "\\U000e0041");
  EXPECT_EQ(escape_hidden("a\nb\xff"), "a\nb\xff");
}

TEST(Printable, KeepsJoinersWhereTheyJoin) {
  for (const char* text : {"👩\u200d👩\u200d👧", "❤\ufe0f", "क्\u200dष", "می\u200cخواهم"}) {
    EXPECT_EQ(printable(text), text);
    EXPECT_EQ(escape_hidden(text), text);
  }
  EXPECT_EQ(printable("pass\u200dword"), "pass\\u200dword");
  EXPECT_EQ(printable("\u200c"), "\\u200c");
}

TEST(Width, CountsAsTerminalsDo) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("日本"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
  EXPECT_EQ(display_width("ที่"), 1u);
  EXPECT_EQ(display_width("한글"), 4u);
  EXPECT_EQ(display_width("\u1112\u1161\u11ab"), 2u);
  EXPECT_EQ(display_width("🧪"), 2u);
  EXPECT_EQ(display_width("▁█"), 2u);
  EXPECT_EQ(display_width("\xff"), 1u);
}

TEST(Width, ShortensToColumns) {
  EXPECT_EQ(shorten("abcdef", 6), "abcdef");
  EXPECT_EQ(shorten("abcdef", 4), "abc…");
  EXPECT_EQ(shorten("日本語", 4), "日…");
  EXPECT_EQ(shorten("e\u0301e\u0301e\u0301", 2), "e\u0301…");
  EXPECT_EQ(shorten("abc", 0), "");
}

}  // namespace
}  // namespace outliers
