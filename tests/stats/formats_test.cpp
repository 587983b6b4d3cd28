// Rounding to number formats: bit for bit what tests/oracle/stats_formats.py finds by looking at every number
// of each format; and the errors against their definitions in float64.
#include "outliers/stats/formats.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/bytes.h"
#include "outliers/io/npz.h"

#include "support.h"

namespace outliers::stats {
namespace {

const NumberFormat& format(const std::string& name) {
  for (const NumberFormat& one : kNumberFormats) {
    if (one.name == name) return one;
  }
  ADD_FAILURE() << "no format " << name;
  return kNumberFormats[0];
}

TEST(Formats, RoundToTheNearestOfAllTheirNumbers) {
  const io::NpzReader golden(tests::golden("stats/formats.npz"));
  size_t compared = 0;
  for (const std::string& key : golden.names()) {
    const size_t dot = key.find('.');
    if (dot == std::string::npos) continue;
    ++compared;
    const at::Tensor x = golden.read(key.substr(0, dot)), wanted = golden.read(key);
    const at::Tensor got = rounded(x, format(key.substr(dot + 1)));
    EXPECT_EQ(got.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(got, wanted))
        << key << ": " << (got != wanted).sum().item<int64_t>() << " of " << x.numel() << " differ";
  }
  EXPECT_EQ(compared, 62u);
}

TEST(Formats, HaveTheLargestNumberOfTheirElement) {
  for (const NumberFormat& one : kNumberFormats) {
    if (one.scaling != Scaling::none) continue;
    const at::Tensor most = at::full({1, 1}, one.largest), more = most * 1.0001;
    EXPECT_EQ(rounded(most, one).item<double>(), one.largest) << one.name;
    EXPECT_EQ(rounded(more, one).item<double>(), one.largest) << one.name;
    EXPECT_EQ(rounded(-more, one).item<double>(), -one.largest) << one.name;
    const at::ScalarType type = one.element == Element::float16    ? at::kHalf
                                : one.element == Element::bfloat16 ? at::kBFloat16
                                                                   : at::kFloat8_e5m2;
    const at::Tensor twice = at::full({}, 2 * one.largest, at::kDouble).to(type).to(at::kFloat);
    EXPECT_TRUE(std::isinf(twice.item<float>())) << one.name;
  }
}

/// The definitions of RoundingSummary, over rows of several tensors.
RoundingSummary defined(const std::vector<at::Tensor>& parts, const NumberFormat& one) {
  double error = 0, square = 0, nonzero = 0, flushed = 0;
  std::vector<double> blocks;
  const int64_t size = one.block > 0 ? one.block : 32;
  for (const at::Tensor& x : parts) {
    const at::Tensor q = rounded(x, one);
    const auto a = x.accessor<float, 2>(), b = q.accessor<float, 2>();
    for (int64_t r = 0; r < x.size(0); ++r) {
      for (int64_t k = 0; k < x.size(1); ++k) {
        const double lost = static_cast<double>(a[r][k]) - b[r][k];
        if (k % size == 0) blocks.push_back(0);
        blocks.back() += lost * lost;
        error += lost * lost;
        square += static_cast<double>(a[r][k]) * a[r][k];
        nonzero += a[r][k] != 0;
        flushed += a[r][k] != 0 && b[r][k] == 0;
      }
    }
  }
  std::sort(blocks.rbegin(), blocks.rend());
  double worst = 0;
  for (size_t i = 0; i < std::ceil(0.001 * static_cast<double>(blocks.size())); ++i) worst += blocks[i];
  return {std::sqrt(error / square), flushed / nonzero, worst / error};
}

TEST(RoundingAccumulator, HasTheErrorsOfTheDefinition) {
  at::manual_seed(11);
  const int64_t rows = 500, K = 70;
  at::Tensor all = at::randn({rows, K});
  all.select(1, 9).mul_(200);
  all[17][3] = 4000;
  all[30].zero_();
  const std::vector<at::Tensor> parts = {all.narrow(0, 0, 40), all.narrow(0, 40, 260),
                                         all.narrow(0, 300, 200)};
  for (const NumberFormat& one : kNumberFormats) {
    if (one.scaling == Scaling::none) continue;
    SCOPED_TRACE(one.name);
    const RoundingSummary wanted = defined(parts, one);
    RoundingAccumulator whole(one, rows, K), first(one, rows, K), second(one, rows, K);
    for (const at::Tensor& part : parts) whole.add(part);
    first.add(parts[0]);
    second.add(parts[1]);
    second.add(parts[2]);
    ByteWriter out;
    second.save(out);
    ByteReader in(out.bytes());
    first.merge(RoundingAccumulator::load(in, one));
    for (const RoundingAccumulator* got : {&whole, &first}) {
      const RoundingSummary summary = got->finish();
      EXPECT_NEAR(summary.relative_error, wanted.relative_error, 1e-6 * wanted.relative_error);
      EXPECT_EQ(summary.flushed, wanted.flushed);
      EXPECT_NEAR(summary.worst_blocks, wanted.worst_blocks, 1e-5 * wanted.worst_blocks);
    }
    EXPECT_EQ(first.finish().relative_error, whole.finish().relative_error);
    EXPECT_GT(wanted.worst_blocks, 0);
  }
}

TEST(RoundingAccumulator, OfNothingThatIsLostIsZero) {
  RoundingAccumulator zeros(format("nvfp4"), 4, 32);
  zeros.add(at::zeros({4, 32}));
  const RoundingSummary none = zeros.finish();
  EXPECT_EQ(none.relative_error, 0);
  EXPECT_EQ(none.flushed, 0);
  EXPECT_EQ(none.worst_blocks, 0);
}

}  // namespace
}  // namespace outliers::stats
