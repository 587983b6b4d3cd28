// The rows (last dimension) of a strided tensor, for kernels that read views such as a head's slice of a
// fused projection without copying them first.
#pragma once

#include <array>

#include <ATen/core/Tensor.h>

namespace outliers::ops {

class RowOffsets {
 public:
  static constexpr int64_t kMaxDimensions = 8;

  /// The tensor has 1 to kMaxDimensions dimensions, the last with stride 1.
  explicit RowOffsets(const at::Tensor& x) : dimensions_(x.dim() - 1) {
    TORCH_INTERNAL_ASSERT(x.dim() >= 1 && x.dim() <= kMaxDimensions && x.stride(-1) == 1);
    for (int64_t i = 0; i < dimensions_; ++i) {
      sizes_[static_cast<size_t>(i)] = x.size(i);
      strides_[static_cast<size_t>(i)] = x.stride(i);
      rows_ *= x.size(i);
    }
  }

  int64_t rows() const { return rows_; }
  /// Offset, in elements, of row number `row` in row-major order.
  int64_t at(int64_t row) const {
    int64_t offset = 0;
    for (int64_t i = dimensions_ - 1; i >= 0; --i) {
      const int64_t size = sizes_[static_cast<size_t>(i)];
      offset += row % size * strides_[static_cast<size_t>(i)];
      row /= size;
    }
    return offset;
  }

 private:
  int64_t dimensions_, rows_ = 1;
  std::array<int64_t, kMaxDimensions> sizes_{}, strides_{};
};

}  // namespace outliers::ops
