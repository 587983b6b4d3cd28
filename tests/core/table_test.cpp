#include "outliers/core/table.h"

#include <sstream>

#include <gtest/gtest.h>

#include "outliers/core/display.h"

namespace outliers {
namespace {

TEST(Table, WidthsOfOtherScripts) {
  EXPECT_EQ(table({"k", "n"}, {{"日", "1"}, {"abc", "20"}}), "k     n\n日    1\nabc  20\n");
}

TEST(Table, FoldsAtSpaces) {
  EXPECT_EQ(fold("one two three", 9, 2), "one two\n  three");
  EXPECT_EQ(fold("", 9, 2), "");
  EXPECT_EQ(fold("in 12 % of layers", 7, 1), "in\n 12 %\n of\n layers");
  EXPECT_EQ(fold("one two three", 0, 2), "one two three");
}

TEST(Table, FoldsWithinWordsLongerThanALine) {
  EXPECT_EQ(fold("in /tmp/a_long_name/index.html, b", 14, 2), "in\n  /tmp/a_long_\n  name/index.\n  html, b");
  EXPECT_EQ(fold("aaaaaaaaaa", 5, 1), "aaaa\n aaaa\n aa");
  EXPECT_EQ(fold("日本語日本語", 5, 0), "日本\n語日\n本語");
}

TEST(Table, TablesFitAWidth) {
  const std::vector<std::string> header = {"name", "n"};
  const std::vector<std::vector<std::string>> rows = {{"model.layers.0.mlp.down_proj.weight", "1"},
                                                      {"x", "20"}};
  const std::string whole = table(header, rows), narrow = table(header, rows, 24),
                    list = table(header, rows, 11);
  EXPECT_EQ(table(header, rows, 80), whole);
  EXPECT_EQ(
      narrow,
      "name                   n\nmodel.layers.0.mlp.    1\ndown_proj.weight\nx                     20\n");
  for (const std::string& text : {narrow, list}) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(display_width(line), 24u) << line;
  }
  EXPECT_EQ(list.substr(0, 21), "name  model\n      .la");
}

}  // namespace
}  // namespace outliers
