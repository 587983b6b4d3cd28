#include "outliers/report/figure.h"

#include <cmath>

#include <gmock/gmock.h>

#include "outliers/core/display.h"

namespace outliers::report {
namespace {

using testing::ElementsAre;

TEST(Figure, TokenLabels) {
  EXPECT_EQ(token_label(" warm"), "warm");
  EXPECT_EQ(token_label("\\n"), "\\n");
  EXPECT_EQ(token_label(" "), "␣");
  EXPECT_EQ(token_label("  x"), "␣x");
  EXPECT_EQ(token_label("a b"), "a␣b");
  EXPECT_EQ(token_label(""), "∅");
  EXPECT_EQ(token_label("incomprehensible"), "incompreh…");
  EXPECT_EQ(token_label("日本語日本語"), "日本語日…");  // two columns a letter
  EXPECT_EQ(display_width(token_label("日本語日本語日本語")), 9u);
  EXPECT_EQ(token_label("e\xCC\x81xxxxxxxxxxx"), "e\xCC\x81xxxxxxxx…");
}

TEST(Figure, TextsAreQuoted) {
  EXPECT_EQ(data_text("a\"b\\c"), "\"a\"\"b\\\\c\"");
  EXPECT_EQ(data_text("\n\t"), "\"\\\\n\\\\t\"");
  EXPECT_EQ(data_text("\xFF"), "\"\\\\xff\"");
  EXPECT_EQ(script_text("`a` 'b' \"c\" \\"), "'`a` ''b'' \"c\" \\'");
  EXPECT_EQ(data_number(1.5), "1.5");
  EXPECT_EQ(data_number(NAN), "NaN");
  EXPECT_EQ(data_number(-INFINITY), "NaN");
}

TEST(Figure, Ticks) {
  EXPECT_THAT(ticks(448), ElementsAre(0, 100, 200, 300, 400));
  EXPECT_THAT(ticks(1), ElementsAre(0, 0.5, 1));
  EXPECT_THAT(ticks(1900), ElementsAre(0, 500, 1000, 1500));
  EXPECT_THAT(ticks(7), ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(ticks(0), ElementsAre(0, 1));
  EXPECT_THAT(ticks(NAN), ElementsAre(0, 1));
  EXPECT_EQ(tick_text(1500), "1.5k");
  EXPECT_EQ(tick_text(100000), "100k");
  EXPECT_EQ(tick_text(0.5), "0.5");
}

TEST(Figure, ThinsOutLabelsAroundTheImportantOnes) {
  EXPECT_THAT(thin_out(3, 1), ElementsAre(true, true, true));
  EXPECT_THAT(thin_out(5, 2), ElementsAre(true, false, true, false, true));
  EXPECT_THAT(thin_out(6, 3, {1, 2}), ElementsAre(false, true, false, false, true, false));
  EXPECT_THAT(thin_out(1, 7), ElementsAre(true));
}

TEST(Figure, PalettesAreComplete) {
  for (const Palette& p : palettes()) {
    EXPECT_EQ(p.series.size(), 4u);
    EXPECT_EQ(p.modules.size(), kShownModules.size());
    EXPECT_EQ(p.classes.size(), std::size(results::kClasses));
  }
}

}  // namespace
}  // namespace outliers::report
