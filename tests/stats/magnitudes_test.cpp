// Magnitudes with so little room that values are counted instead of kept, and narrowed; the partials by the
// reference backend.
#include "outliers/stats/magnitudes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "stats/inputs.h"

namespace outliers::stats {
namespace {

double middle(const at::Tensor& x) {
  const at::Tensor sorted = std::get<0>(x.flatten().abs().to(at::kDouble).sort());
  const int64_t n = sorted.numel();
  return (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
}

void add(Magnitudes& magnitudes, const at::Tensor& x) {
  if (magnitudes.count() == 0) magnitudes.guess(x);
  magnitudes.add(reference::activation_partial(x, {magnitudes.keep(), 0, 0, 100.0}));
}

TEST(Magnitudes, StaysExactWhenThereIsNoRoomToKeep) {
  const at::Tensor x = tests::random({4, 50, 400}, at::kFloat);
  for (int64_t room : {int64_t{0}, int64_t{100}, int64_t{5000}, Magnitudes::kKeptLimit}) {
    Magnitudes magnitudes(at::kFloat, room);
    for (int64_t s = 0; s < 4; ++s) add(magnitudes, x.slice(0, s, s + 1));
    ASSERT_TRUE(magnitudes.median().has_value()) << room;
    EXPECT_EQ(*magnitudes.median(), middle(x)) << room;
  }
}

TEST(Magnitudes, MergesWhatIsKeptWithWhatIsCounted) {
  const at::Tensor x = tests::random({4, 50, 400}, at::kFloat);
  for (int64_t left_room : {int64_t{100}, Magnitudes::kKeptLimit}) {
    for (int64_t right_room : {int64_t{100}, Magnitudes::kKeptLimit}) {
      Magnitudes left(at::kFloat, left_room), right(at::kFloat, right_room);
      add(left, x.slice(0, 0, 3));
      add(right, x.slice(0, 3, 4));
      left.merge(right);
      add(left, x.slice(0, 0, 1));
      ASSERT_TRUE(left.median().has_value());
      EXPECT_EQ(*left.median(), middle(at::cat({x, x.slice(0, 0, 1)})));
    }
  }
}

TEST(Magnitudes, CountsZerosWithoutKeepingThem) {
  const at::Tensor x = tests::random({1, 50, 400}, at::kFloat).relu();
  for (int64_t room : {int64_t{0}, Magnitudes::kKeptLimit}) {
    Magnitudes magnitudes(at::kFloat, room);
    add(magnitudes, x);
    EXPECT_EQ(magnitudes.median(), middle(x));
  }
  const at::Tensor most =
      at::cat({at::zeros({1, 10, 400}), tests::random({1, 10, 400}, at::kFloat) * 1e-40}, 1);
  for (int64_t room : {int64_t{0}, Magnitudes::kKeptLimit}) {
    Magnitudes magnitudes(at::kFloat, room);
    add(magnitudes, most);
    EXPECT_EQ(magnitudes.median(), middle(most));
  }
}

TEST(Magnitudes, CountsAboveAThreshold) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor x = tests::random({1, 50, 400}, dtype);
    Magnitudes magnitudes(dtype);
    add(magnitudes, x);
    for (double threshold : {0.0, 0.5, 1.0, 1.2345, 2.0, 100.0}) {
      const std::vector<int64_t> bins = magnitudes.bins_between(threshold, threshold);
      if (dtype == at::kFloat && !magnitudes.count_above(threshold)) {
        ASSERT_EQ(bins.size(), 1u);
        magnitudes.add_counts(bins, reference::key_counts(x, bins));
      }
      EXPECT_EQ(magnitudes.count_above(threshold),
                (x.to(at::kDouble).abs() > threshold).sum().item<int64_t>())
          << threshold;
    }
  }
}

}  // namespace
}  // namespace outliers::stats
