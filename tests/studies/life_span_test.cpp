#include <gmock/gmock.h>

#include "outliers/studies/summary.h"

namespace outliers::studies {
namespace {

using results::Extent;
using testing::Optional;

constexpr Extent kEmbedding = {0.5, 0.25};  // ratio 2

TEST(LifeSpan, BornAtTheLargestStepAndRemovedForGood) {
  // Ratios 3, 600, 2400, 2500, 8: the steps are 1.5, 200, 4 and, at the peak, 1.04.
  const LifeSpan span =
      life_span(kEmbedding, {{0.75, 0.25}, {300, 0.5}, {1200, 0.5}, {1250, 0.5}, {20, 2.5}});
  EXPECT_THAT(span.born, Optional(1));
  EXPECT_THAT(span.peak, Optional(3));
  EXPECT_THAT(span.removed, Optional(4));
}

TEST(LifeSpan, ThePeakIsOfTheMaxAndTheBirthOfTheRatio) {
  // Ratios 40, 1000, 500: the median grows faster than the max.
  const LifeSpan span = life_span(kEmbedding, {{10, 0.25}, {500, 0.5}, {1000, 2}});
  EXPECT_THAT(span.born, Optional(1));
  EXPECT_THAT(span.peak, Optional(2));
  EXPECT_EQ(span.removed, std::nullopt);
}

TEST(LifeSpan, NothingIsFoundBelowTheRatio) {
  const LifeSpan span = life_span(kEmbedding, {{0.75, 0.25}, {99.75, 1}, {1, 1}});
  EXPECT_EQ(span.born, std::nullopt);
  EXPECT_EQ(span.peak, std::nullopt);
  EXPECT_EQ(span.removed, std::nullopt);
  EXPECT_EQ(life_span(kEmbedding, {}).peak, std::nullopt);
  EXPECT_THAT(life_span(kEmbedding, {{0.75, 0.25}, {Criteria{}.found_ratio, 1}, {1, 1}}).peak, Optional(1));
}

TEST(LifeSpan, HalfOfThePeakIsNotBelowHalf) {
  EXPECT_EQ(life_span(kEmbedding, {{1000, 0.5}, {500, 0.5}}).removed, std::nullopt);
  EXPECT_THAT(life_span(kEmbedding, {{1000, 0.5}, {499.5, 0.5}}).removed, Optional(1));
}

TEST(LifeSpan, ARemovalThatComesBackIsNone) {
  const Extent low = {100, 0.5}, high = {1000, 0.5}, again = {900, 0.5};
  EXPECT_EQ(life_span(kEmbedding, {low, high, low, low, again}).removed, std::nullopt);
  EXPECT_THAT(life_span(kEmbedding, {low, high, low, again, low, low}).removed, Optional(4));
}

TEST(LifeSpan, BornInLayer0) {
  // The embedding's ratio is what layer 0 steps up from: 2 to 1000, then 1000 to 4000.
  const LifeSpan span = life_span(kEmbedding, {{500, 0.5}, {2000, 0.5}});
  EXPECT_THAT(span.born, Optional(0));
  EXPECT_THAT(span.peak, Optional(1));
  // An embedding that is as tall already leaves the step to layer 1.
  EXPECT_THAT(life_span({500, 0.5}, {{500, 0.5}, {2000, 0.5}}).born, Optional(1));
}

TEST(LifeSpan, AStepAfterThePeakIsNoBirth) {
  // Ratios 150, 600, 60000: the last, where everything has shrunk, is the tallest and the largest step.
  const LifeSpan span = life_span(kEmbedding, {{150, 1}, {600, 1}, {60, 0.001}});
  EXPECT_THAT(span.born, Optional(0));
  EXPECT_THAT(span.peak, Optional(1));
  EXPECT_THAT(span.removed, Optional(2));
}

TEST(LifeSpan, TheFirstOfEqualPeaksAndSteps) {
  // Ratios 2, 20, 200, 200: steps 1, 10, 10, 1.
  const LifeSpan span = life_span(kEmbedding, {{1, 0.5}, {10, 0.5}, {100, 0.5}, {100, 0.5}});
  EXPECT_THAT(span.born, Optional(1));
  EXPECT_THAT(span.peak, Optional(2));
}

TEST(LifeSpan, OneLayer) {
  const LifeSpan span = life_span(kEmbedding, {{500, 0.5}});
  EXPECT_THAT(span.born, Optional(0));
  EXPECT_THAT(span.peak, Optional(0));
  EXPECT_EQ(span.removed, std::nullopt);
}

TEST(LifeSpan, ZeroMediansHaveNoRatio) {
  EXPECT_EQ((Extent{5, 0}.ratio()), 0);
  EXPECT_EQ(life_span({0, 0}, {{1000, 0}, {2000, 0}}).peak, std::nullopt);
  // A step from an all-zero input is one from 1: 150, then 2.
  EXPECT_THAT(life_span({0, 0}, {{150, 1}, {300, 1}}).born, Optional(0));
  // The peak's own median is zero, and nothing is known but that it was born by then.
  const LifeSpan span = life_span({0, 0}, {{1000, 0}, {600, 1}});
  EXPECT_THAT(span.born, Optional(0));
  EXPECT_THAT(span.peak, Optional(0));
  EXPECT_EQ(span.removed, std::nullopt);
}

}  // namespace
}  // namespace outliers::studies
