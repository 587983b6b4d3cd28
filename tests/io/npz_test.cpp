#include "outliers/io/npz.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/error.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::HasSubstr;

TEST(Npz, ReadsWhatNumpyWrites) {
  for (const char* file : {"io/numpy_savez.npz", "io/numpy_compressed.npz"}) {
    const NpzReader reader(tests::golden(file));
    EXPECT_EQ(reader.names(), (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g"}));
    EXPECT_TRUE(at::equal(reader.read("a"), at::arange(6, at::kFloat).view({2, 3})));
    EXPECT_EQ(reader.read("b").item<int64_t>(), 7);
    EXPECT_EQ(reader.read("b").dim(), 0);
    EXPECT_EQ(reader.read("c").sizes(), (std::vector<int64_t>{0, 4}));
    EXPECT_EQ(reader.read("c").scalar_type(), at::kHalf);
    EXPECT_TRUE(reader.read("d")[0].item<bool>());
    EXPECT_TRUE(at::equal(reader.read("e"), at::arange(5, at::kByte)));
    EXPECT_TRUE(at::equal(reader.read("f"), at::linspace(0, 1, 5, at::kDouble)));
    EXPECT_TRUE(at::equal(reader.read("g"), at::arange(3, at::kInt)));
  }
}

TEST(Npz, RoundTrip) {
  tests::ScratchDirectory scratch;
  const at::Tensor x = at::randn({3, 5, 7}), y = at::randn({4}, at::kHalf),
                   z = at::randn({2, 2}).to(at::kBFloat16);
  {
    NpzWriter writer(scratch / "a.npz");
    writer.add("layer.0.resid_out", x);
    writer.add("y", y);
    writer.add("z", z.t());
    writer.add("scalar", at::tensor(3.5));
    EXPECT_THROW(writer.add("y", y), Error);
    EXPECT_THROW(writer.add("complex", at::zeros({1}, at::kComplexFloat)), Error);
    writer.commit();
  }
  const NpzReader reader(scratch / "a.npz");
  EXPECT_TRUE(at::equal(reader.read("layer.0.resid_out"), x));
  EXPECT_TRUE(at::equal(reader.read("y"), y));
  EXPECT_EQ(reader.read("z").scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(reader.read("z"), z.t().to(at::kFloat)));
  EXPECT_TRUE(reader.has("scalar"));
  EXPECT_THAT(tests::error_of([&] { reader.read("none"); }), HasSubstr("no array none"));
}

// Every cut and many flips of a small archive: it opens and reads, or it is an Error; it never crashes.
TEST(Npz, DamagedFiles) {
  tests::ScratchDirectory scratch;
  {
    NpzWriter writer(scratch / "a.npz");
    writer.add("x", at::arange(10, at::kFloat));
    writer.add("y", at::arange(4, at::kLong).view({2, 2}));
    writer.commit();
  }
  int refused = 0;
  const auto attempt = [&](const std::string& bytes) {
    tests::write_file(scratch / "b.npz", bytes);
    try {
      const NpzReader reader(scratch / "b.npz");
      for (const std::string& name : reader.names()) reader.read(name);
    } catch (const Error&) {
      ++refused;
    }
  };
  for (const std::string& whole :
       {tests::read_file(scratch / "a.npz"), tests::read_file(tests::golden("io/numpy_compressed.npz"))}) {
    for (size_t size = 0; size < whole.size(); size += 3) attempt(whole.substr(0, size));
    std::mt19937 random(5);
    for (int i = 0; i < 1000; ++i) {
      std::string bytes = whole;
      for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
      attempt(bytes);
    }
  }
  EXPECT_GT(refused, 800);
}

}  // namespace
}  // namespace outliers::io
