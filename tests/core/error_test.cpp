#include "outliers/core/error.h"

#include <gtest/gtest.h>

namespace outliers {
namespace {

TEST(Error, CarriesMessageAndExitCode) {
  try {
    fail("{} is {}", "x", 3);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "x is 3");
    EXPECT_EQ(error.exit_code(), 1);
  }
  EXPECT_EQ(UsageError("no").exit_code(), 2);
  EXPECT_EQ(Interrupted(2, "interrupted").exit_code(), 130);
}

TEST(Printable, KeepsText) {
  EXPECT_EQ(printable("blk.0.attn_q ▁日本 é"), "blk.0.attn_q ▁日本 é");
}

TEST(Printable, EscapesControlsAndInvalidUtf8) {
  EXPECT_EQ(printable("a\nb\t\x1b[31m"), "a\\nb\\t\\x1b[31m");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // C1: some terminals obey it
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(printable(std::string(500, 'a'), 10), "aaaaaaaaaa...");
}

}  // namespace
}  // namespace outliers
