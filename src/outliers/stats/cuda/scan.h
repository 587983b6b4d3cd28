// One pass over a matrix-like tensor on CUDA: histogram of magnitudes, maxima along both axes, moments, and
// what else leaves the device as a small result. Raw pointers and a stream, no torch.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

namespace outliers::stats::cuda {

enum class ElementType { kFloat16, kBFloat16, kFloat32 };

/// x [B,T,C]; strides count elements, the last axis is contiguous.
struct Input {
  const void* x;
  ElementType type;
  int64_t B, T, C;
  int64_t batch_stride, token_stride;
};

inline constexpr int kHistogramBins = 1 << 15;

/// Sums over the finite values of one unit of work, of d = x - shift of its sequence.
struct UnitSums {
  double power[4];  ///< of d, d^2, d^3, d^4
  double abs_sum;
  uint64_t count, nan_count, inf_count, zero_count;
};

/// How a scan is cut into units: strips of rows of one sequence times chunks of columns.
struct ScanPlan {
  int64_t rows_per_strip, strips;  ///< strips of one sequence
  int64_t columns_per_chunk, chunks;
  int64_t units;  ///< B * strips * chunks; unit = (sequence * strips + strip) * chunks + chunk
  int vector;     ///< elements of one load
};
ScanPlan plan_scan(const Input& input, int multiprocessors);

/// Everything is written by adding to or maximising over zeros, but sums and partials, which are written
/// whole.
struct ScanOutput {
  const double* shift;  ///< [B]
  uint32_t* histogram;  ///< [kHistogramBins], finite values by the top 15 bits of the magnitude in x's dtype
  uint32_t* token_max;  ///< [B,T] bits of the largest finite magnitude as float32
  uint32_t* channel_max;  ///< [C] likewise
  UnitSums* sums;         ///< [units]

  // float32 only: keys of bins [keep_first, keep_last) but key 0. Counting goes on when the room is full.
  uint32_t keep_first, keep_last;
  uint32_t* kept;  ///< [kept_room]
  uint32_t kept_room;
  uint32_t* kept_count;

  // Sums along lines, where `column_partials` is given. B is 1.
  double* column_partials;     ///< [strips, C] sums of magnitudes
  double* row_partials;        ///< [chunks, T]
  uint32_t* column_nonfinite;  ///< [C]
  uint32_t* row_nonfinite;     ///< [T]
};
cudaError_t scan(const Input& input, const ScanPlan& plan, const ScanOutput& output, cudaStream_t stream);

/// shift[b] = mean of the finite values of the middle token of sequence b: exact for constants, and near
/// enough to the mean for the moments not to cancel.
cudaError_t middle_means(const Input& input, double* shift, cudaStream_t stream);

/// sums [C] = partials [strips, C] added in order.
cudaError_t add_partials(const double* partials, int64_t strips, int64_t C, double* sums,
                         cudaStream_t stream);

struct Entry {
  float value;
  int32_t row, column;  ///< row = sequence * T + token
};
/// Lists, in no order, finite values with a magnitude of at least threshold[sequence]; looks only into tokens
/// whose maximum reaches it. `count` starts at 0 and goes on counting when the room is full.
cudaError_t gather_above(const Input& input, const uint32_t* token_max, const float* threshold,
                         Entry* entries, uint32_t room, uint32_t* count, cudaStream_t stream);

/// counts [bins, 65536] += how often each key of each bin occurs. float32 only.
cudaError_t count_keys(const Input& input, const uint32_t* bins, int32_t bin_count, uint32_t* counts,
                       cudaStream_t stream);

}  // namespace outliers::stats::cuda
