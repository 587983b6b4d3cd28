#include "outliers/studies/episodes.h"

#include <gmock/gmock.h>

namespace outliers::studies {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

std::vector<results::Episode> episodes(const std::vector<double>& values, double median = 1,
                                       double embedding = 0) {
  return episodes_of({4, 7, embedding, values}, std::vector<double>(values.size(), median));
}

TEST(Episodes, BeginWhereTheValueIsFoundAndEndBelowHalfOfThePeak) {
  // SmolLM2's: up in layers 1 and 2, down in 8 and 9, and forty times higher in 11.
  const auto list = episodes({-2, -206, -713, -700, -570, -85, -34, -23147, -23000, -8442, -2921});
  ASSERT_EQ(list.size(), 2);
  EXPECT_EQ(list[0].token, 4);
  EXPECT_EQ(list[0].channel, 7);
  EXPECT_EQ(list[0].born_layer, 2);
  EXPECT_EQ(list[0].peak_layer, 2);
  EXPECT_EQ(list[0].peak, -713);
  EXPECT_THAT(list[0].removed_layer, Optional(5));
  EXPECT_THAT(list[0].step_up, ElementsAre(1, 2));
  EXPECT_THAT(list[0].step_down, ElementsAre(4, 5));
  EXPECT_EQ(list[1].born_layer, 7);
  EXPECT_THAT(list[1].removed_layer, Optional(9));
  EXPECT_THAT(list[1].step_up, ElementsAre(7));
  EXPECT_THAT(list[1].step_down, ElementsAre(9, 10));
}

TEST(Episodes, AreBornWhereTheRiseIsTheLargestMultipleAboveATenthOfThePeak) {
  // By the plain multiple it would be layer 0; what is below a tenth counts as a tenth.
  EXPECT_EQ(episodes({30, 5, 400, 1000})[0].born_layer, 2);
  EXPECT_EQ(episodes({150, 400, 1000}, 1, 0.001)[0].born_layer, 1);
  EXPECT_EQ(episodes({900, 1000, 1000})[0].born_layer, 0);
  EXPECT_THAT(episodes({900, 1000, 1000}, 1, 890)[0].step_up, ElementsAre(1));
}

TEST(Episodes, LastToTheEndWhereNothingTakesThemAway) {
  const auto list = episodes({200, 1000, 500});
  ASSERT_EQ(list.size(), 1);
  EXPECT_EQ(list[0].removed_layer, std::nullopt);
  EXPECT_THAT(list[0].step_down, ElementsAre(2));
}

TEST(Episodes, DoNotBeginAgainInTheTailOfOneThatEnds) {
  EXPECT_EQ(episodes({1000, 400, 390, 380}).size(), 1);
  EXPECT_EQ(episodes({1000, 400, 390, 790}).size(), 2);
}

TEST(Episodes, NeedAValueOfAHundredMedians) {
  EXPECT_THAT(episodes({99, 50}), IsEmpty());
  EXPECT_EQ(episodes({100, 50}).size(), 1);
  EXPECT_THAT(episodes({0, 0}, 0), IsEmpty());
}

}  // namespace
}  // namespace outliers::studies
