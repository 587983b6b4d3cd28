#include "outliers/core/memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace outliers {
namespace {

constexpr int64_t kMebi = 1 << 20;

#if !defined(__SANITIZE_ADDRESS__)
TEST(Memory, KeepsAndReusesLargeBlocks) {
  install_tensor_allocator(uint64_t{16} << 20);
  const void* first = nullptr;
  {
    const at::Tensor x = at::ones({kMebi});  // 4 MiB
    first = x.data_ptr();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
    EXPECT_EQ(x.sum().item<double>(), static_cast<double>(kMebi));
  }
  EXPECT_EQ(kept_memory_bytes(), uint64_t{4} << 20);
  const at::Tensor again = at::zeros({kMebi - 100});
  EXPECT_EQ(again.data_ptr(), first);
  EXPECT_EQ(kept_memory_bytes(), 0u);
  EXPECT_EQ(again.abs().max().item<float>(), 0.0F) << "zeros() must clear a block that was used before";
  const at::Tensor other = at::ones({kMebi});
  EXPECT_NE(other.data_ptr(), first);
}

TEST(Memory, KeepsNoMoreThanItsLimit) {
  install_tensor_allocator(uint64_t{16} << 20);
  { const at::Tensor a = at::ones({8 * kMebi}); }  // 32 MiB
  EXPECT_EQ(kept_memory_bytes(), 0u);
  { const at::Tensor a = at::ones({2 * kMebi}), b = at::ones({kMebi}), c = at::ones({2 * kMebi}); }
  EXPECT_LE(kept_memory_bytes(), uint64_t{16} << 20);
  EXPECT_GT(kept_memory_bytes(), 0u);
  release_kept_memory();
  EXPECT_EQ(kept_memory_bytes(), 0u);
}

TEST(Memory, KeepsWhatABoundLeaves) {
  install_tensor_allocator(uint64_t{64} << 20);
  release_kept_memory();
  {
    const TensorMemoryBound bound(uint64_t{24} << 20);
    { const at::Tensor a = at::ones({4 * kMebi}); }  // 16 MiB
    EXPECT_EQ(kept_memory_bytes(), uint64_t{16} << 20);
    const at::Tensor b = at::ones({2 * kMebi});  // 8 MiB more: just fits
    EXPECT_EQ(kept_memory_bytes(), uint64_t{16} << 20);
    const at::Tensor c = at::ones({kMebi / 2});
    EXPECT_EQ(kept_memory_bytes(), 0u) << "given back before more is taken";
    { const at::Tensor more = at::ones({8 * kMebi}); }  // tensors themselves may be more
    EXPECT_EQ(kept_memory_bytes(), 0u);
  }
  release_kept_memory();
  { const at::Tensor a = at::ones({8 * kMebi}); }
  EXPECT_EQ(kept_memory_bytes(), uint64_t{32} << 20);
  release_kept_memory();
}

TEST(Memory, FreesWhatOthersAllocated) {
  // A tensor made before the allocator was installed, and a small one, both come from malloc.
  const at::Tensor small = at::ones({10});
  install_tensor_allocator();
  at::Tensor copy = small.clone();
  copy = at::Tensor();
  EXPECT_EQ(small.sum().item<float>(), 10.0F);
}

TEST(Memory, TooMuchThrows) {
  install_tensor_allocator();
  EXPECT_ANY_THROW(at::empty({int64_t{1} << 50}));
}
#endif

TEST(Memory, KnowsTheResidentSet) {
  const uint64_t now = resident_bytes(), peak = peak_resident_bytes();
  EXPECT_GT(now, uint64_t{1} << 20);
  EXPECT_GE(peak, now);
  std::vector<char> block(size_t{200} << 20, 1);
  EXPECT_GE(resident_bytes(), now + (uint64_t{150} << 20));
  EXPECT_GE(peak_resident_bytes(), now + (uint64_t{150} << 20));
}

}  // namespace
}  // namespace outliers
