#include "outliers/core/spill.h"

#include <csignal>
#include <sys/resource.h>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace outliers {
namespace {

using testing::HasSubstr;

TEST(Spill, GivesBackWhatItTook) {
  const tests::ScratchDirectory scratch;
  Spill spill(scratch.path(), 1 << 20);
  const at::Tensor a = at::randn({3, 5, 7}), b = at::randn({4, 6}).t().to(at::kBFloat16),
                   c = at::arange(10).view({2, 5}), none = at::empty({0, 3});
  EXPECT_EQ(spill.add(a), 0u);
  EXPECT_EQ(spill.add(b), 1u);
  EXPECT_EQ(spill.add(c), 2u);
  EXPECT_EQ(spill.add(none), 3u);
  spill.expect(1);
  for (const auto& [number, x] : {std::pair<size_t, at::Tensor>{2, c}, {0, a}, {1, b}, {3, none}}) {
    const at::Tensor back = spill.get(number);
    EXPECT_EQ(back.scalar_type(), x.scalar_type());
    EXPECT_EQ(back.sizes(), x.sizes());
    EXPECT_TRUE(at::equal(back, x)) << number;
    EXPECT_TRUE(back.is_contiguous());
  }
  const at::Tensor other = at::randn({3, 5, 7});
  spill.replace(0, other);
  EXPECT_TRUE(at::equal(spill.get(0), other));
  EXPECT_TRUE(at::equal(spill.get(1), b)) << "its neighbour was not touched";
  EXPECT_EQ(spill.bytes_written(), a.nbytes() * 2 + b.nbytes() + c.nbytes());
  EXPECT_ANY_THROW(spill.replace(0, c));

  spill.clear();
  EXPECT_EQ(spill.size(), 0u);
  EXPECT_ANY_THROW(spill.get(0));
  EXPECT_EQ(spill.add(c), 0u);
  EXPECT_TRUE(at::equal(spill.get(0), c));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path())) << "the file has no name";
}

TEST(Spill, SaysWhereThereIsNoRoom) {
  const tests::ScratchDirectory scratch;
  EXPECT_THAT(tests::error_of([&] { Spill(scratch / "missing", 0); }),
              HasSubstr("missing: No such file or directory"));

  // A limit on the size of files fails writes as a full disk does.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string early = tests::error_of([&] { Spill(scratch.path(), 5'000'000'000); });
  Spill spill(scratch.path(), 0);
  spill.add(at::ones({1000}));
  const std::string late = tests::error_of([&] { spill.add(at::ones({1000})); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(early, HasSubstr("5.0 GB of what does not fit the memory cannot be written to " +
                               scratch.path().string()));
  EXPECT_THAT(late, HasSubstr("cannot be written to " + scratch.path().string() +
                              ": File too large; free some space"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace outliers
