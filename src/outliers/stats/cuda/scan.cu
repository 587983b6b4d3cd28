// One block per multiprocessor keeps a whole histogram in shared memory (128 KiB) and walks over units of
// work: a strip of rows times a chunk of columns, so that a thread stays in its columns and their maxima stay
// in registers. Counts and maxima are integers, so atomics leave them deterministic; sums are written per
// unit and added up in a fixed order.
#include <algorithm>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "outliers/stats/cuda/scan.h"

namespace outliers::stats::cuda {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxRows = 32;  // of a strip
constexpr int kPrefetch = 4;  // rows loaded ahead
constexpr uint32_t kInfinity = 0x7F800000u;

__device__ float to_float(float x) {
  return x;
}
__device__ float to_float(__half x) {
  return __half2float(x);
}
__device__ float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

__device__ uint32_t histogram_bin(float x) {
  return (__float_as_uint(x) & 0x7FFFFFFFu) >> 16;
}
__device__ uint32_t histogram_bin(__half x) {
  return __half_as_ushort(x) & 0x7FFFu;
}
__device__ uint32_t histogram_bin(__nv_bfloat16 x) {
  return __bfloat16_as_ushort(x) & 0x7FFFu;
}

template <typename Scalar, int vector>
struct alignas(sizeof(Scalar) * vector) Pack {
  Scalar value[vector];
};

struct BlockMemory {
  uint32_t row_max[kMaxRows];
  double row_sums[kMaxRows][kWarps];
  UnitSums sums[kWarps];
};

__device__ double warp_sum(double x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
  return x;
}

template <typename Scalar, int vector, bool lines, bool shared_histogram>
__global__ void __launch_bounds__(kThreads, 1)
    scan_kernel(const Input in, const ScanPlan plan, const ScanOutput out) {
  extern __shared__ __align__(16) unsigned char memory[];
  auto& block = *reinterpret_cast<BlockMemory*>(memory);
  auto* shared = reinterpret_cast<uint32_t*>(memory + sizeof(BlockMemory));
  uint32_t* histogram = shared_histogram ? shared : out.histogram;
  if (shared_histogram) {
    for (int i = threadIdx.x; i < kHistogramBins; i += kThreads) shared[i] = 0;
  }
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const bool keeps = out.keep_first < out.keep_last;

  for (int64_t unit = blockIdx.x; unit < plan.units; unit += gridDim.x) {
    const int64_t chunk = unit % plan.chunks, strip = unit / plan.chunks % plan.strips,
                  sequence = unit / plan.chunks / plan.strips;
    const int64_t first_row = strip * plan.rows_per_strip;
    const int rows = static_cast<int>(min(plan.rows_per_strip, in.T - first_row));
    const int64_t column = chunk * plan.columns_per_chunk + static_cast<int64_t>(threadIdx.x) * vector;
    const bool active = column < in.C;
    const auto* source =
        static_cast<const Scalar*>(in.x) + sequence * in.batch_stride + first_row * in.token_stride + column;
    const double shift = out.shift[sequence];
    if (threadIdx.x < kMaxRows) block.row_max[threadIdx.x] = 0;
    __syncthreads();

    double power[4] = {}, abs_sum = 0;
    uint32_t count = 0, nan_count = 0, inf_count = 0, zero_count = 0;  // far fewer than 2^32 a unit
    uint32_t column_max[vector] = {};
    double column_sums[vector] = {};
    for (int first = 0; first < rows; first += kPrefetch) {
      Pack<Scalar, vector> packs[kPrefetch];
#pragma unroll
      for (int i = 0; i < kPrefetch; ++i) {
        if (active && first + i < rows) {
          packs[i] = *reinterpret_cast<const Pack<Scalar, vector>*>(source + (first + i) * in.token_stride);
        }
      }
#pragma unroll
      for (int i = 0; i < kPrefetch; ++i) {
        const int row = first + i;
        if (row >= rows) break;  // the same for the whole block
        uint32_t row_max = 0;
        double row_sum = 0;
        if (active) {
#pragma unroll
          for (int j = 0; j < vector; ++j) {
            const float x = to_float(packs[i].value[j]);
            const uint32_t bits = __float_as_uint(x) & 0x7FFFFFFFu;
            if (bits < kInfinity) {
              const uint32_t bin = histogram_bin(packs[i].value[j]);
              atomicAdd(histogram + bin, 1u);
              row_max = max(row_max, bits);
              column_max[j] = max(column_max[j], bits);
              ++count;
              zero_count += bits == 0;
              const double magnitude = __uint_as_float(bits), d = static_cast<double>(x) - shift,
                           square = d * d;
              power[0] += d;
              power[1] += square;
              power[2] += square * d;
              power[3] += square * square;
              if (lines) {
                column_sums[j] += magnitude;
                row_sum += magnitude;
              } else {
                abs_sum += magnitude;
              }
              if (keeps && bin >= out.keep_first && bin < out.keep_last && bits != 0) {
                const uint32_t place = atomicAdd(out.kept_count, 1u);
                if (place < out.kept_room) out.kept[place] = bits;
              }
            } else {
              ++(bits > kInfinity ? nan_count : inf_count);
              if (lines) {
                atomicAdd(out.column_nonfinite + column + j, 1u);
                atomicAdd(out.row_nonfinite + first_row + row, 1u);
              }
            }
          }
        }
        row_max = __reduce_max_sync(~0u, row_max);
        if (lane == 0 && row_max > 0) atomicMax(&block.row_max[row], row_max);
        if (lines) {
          abs_sum += row_sum;
          row_sum = warp_sum(row_sum);
          if (lane == 0) block.row_sums[row][warp] = row_sum;
        }
      }
    }
    if (active) {
#pragma unroll
      for (int j = 0; j < vector; ++j) {
        if (column_max[j] > 0) atomicMax(out.channel_max + column + j, column_max[j]);
        if (lines) out.column_partials[strip * in.C + column + j] = column_sums[j];
      }
    }
    UnitSums& sums = block.sums[warp];
    for (int i = 0; i < 5; ++i) {
      const double sum = warp_sum(i < 4 ? power[i] : abs_sum);
      if (lane == 0) (i < 4 ? sums.power[i] : sums.abs_sum) = sum;
    }
    count = __reduce_add_sync(~0u, count);
    nan_count = __reduce_add_sync(~0u, nan_count);
    inf_count = __reduce_add_sync(~0u, inf_count);
    zero_count = __reduce_add_sync(~0u, zero_count);
    if (lane == 0) {
      sums.count = count;
      sums.nan_count = nan_count;
      sums.inf_count = inf_count;
      sums.zero_count = zero_count;
    }
    __syncthreads();
    if (threadIdx.x < rows) {
      const int64_t row = sequence * in.T + first_row + threadIdx.x;
      if (block.row_max[threadIdx.x] > 0) atomicMax(out.token_max + row, block.row_max[threadIdx.x]);
      if (lines) {
        double sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += block.row_sums[threadIdx.x][w];
        out.row_partials[chunk * in.T + row] = sum;
      }
    }
    if (threadIdx.x == 32) {
      UnitSums total{};
      for (int w = 0; w < kWarps; ++w) {
        for (int i = 0; i < 4; ++i) total.power[i] += block.sums[w].power[i];
        total.abs_sum += block.sums[w].abs_sum;
        total.count += block.sums[w].count;
        total.nan_count += block.sums[w].nan_count;
        total.inf_count += block.sums[w].inf_count;
        total.zero_count += block.sums[w].zero_count;
      }
      out.sums[unit] = total;
    }
    __syncthreads();
  }

  if (shared_histogram) {
    __syncthreads();
    for (int i = threadIdx.x; i < kHistogramBins; i += kThreads) {
      if (shared[i] > 0) atomicAdd(out.histogram + i, shared[i]);
    }
  }
}

template <typename Scalar>
__global__ void __launch_bounds__(256) middle_mean_kernel(const Input in, double* shift) {
  __shared__ double sums[8], counts[8];
  const auto* row =
      static_cast<const Scalar*>(in.x) + blockIdx.x * in.batch_stride + in.T / 2 * in.token_stride;
  double sum = 0, count = 0;
  for (int64_t c = threadIdx.x; c < in.C; c += 256) {
    const float x = to_float(row[c]);
    if ((__float_as_uint(x) & 0x7FFFFFFFu) < kInfinity) {
      sum += static_cast<double>(x);
      count += 1;
    }
  }
  sum = warp_sum(sum);
  count = warp_sum(count);
  if (threadIdx.x % 32 == 0) {
    sums[threadIdx.x / 32] = sum;
    counts[threadIdx.x / 32] = count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < 8; ++w) {
      sum += sums[w];
      count += counts[w];
    }
    shift[blockIdx.x] = count > 0 ? sum / count : 0.0;
  }
}

__global__ void add_partials_kernel(const double* partials, int64_t strips, int64_t C, double* sums) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= C) return;
  double sum = 0;
  for (int64_t s = 0; s < strips; ++s) sum += partials[s * C + c];
  sums[c] = sum;
}

template <typename Scalar>
__global__ void __launch_bounds__(256)
    gather_kernel(const Input in, const uint32_t* token_max, const float* threshold, Entry* entries,
                  uint32_t room, uint32_t* count) {
  const int64_t rows = in.B * in.T;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t sequence = row / in.T;
    const float bound = threshold[sequence];
    if (__uint_as_float(token_max[row]) < bound) continue;
    const auto* source =
        static_cast<const Scalar*>(in.x) + sequence * in.batch_stride + row % in.T * in.token_stride;
    for (int64_t c = threadIdx.x; c < in.C; c += 256) {
      const float x = to_float(source[c]);
      if (!(fabsf(x) >= bound) || isinf(x)) continue;
      const uint32_t place = atomicAdd(count, 1u);
      if (place < room) entries[place] = {x, static_cast<int32_t>(row), static_cast<int32_t>(c)};
    }
  }
}

__global__ void __launch_bounds__(256)
    count_keys_kernel(const Input in, const uint32_t* bins, int32_t bin_count, uint32_t* counts) {
  const int64_t rows = in.B * in.T;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const auto* source =
        static_cast<const float*>(in.x) + row / in.T * in.batch_stride + row % in.T * in.token_stride;
    for (int64_t c = threadIdx.x; c < in.C; c += 256) {
      const uint32_t key = __float_as_uint(source[c]) & 0x7FFFFFFFu;
      for (int32_t i = 0; i < bin_count; ++i) {
        if (key >> 16 == bins[i]) atomicAdd(counts + (static_cast<int64_t>(i) << 16) + (key & 0xFFFFu), 1u);
      }
    }
  }
}

int width_of(ElementType type) {
  return type == ElementType::kFloat32 ? 4 : 2;
}

template <typename Scalar, int vector, bool lines, bool shared_histogram>
cudaError_t launch(const Input& in, const ScanPlan& plan, const ScanOutput& out, int multiprocessors,
                   cudaStream_t stream) {
  const int bytes = static_cast<int>(sizeof(BlockMemory)) + (shared_histogram ? kHistogramBins * 4 : 0);
  const auto kernel = scan_kernel<Scalar, vector, lines, shared_histogram>;
  if (bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return error;
  }
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(plan.units, multiprocessors));
  kernel<<<blocks, kThreads, bytes, stream>>>(in, plan, out);
  return cudaGetLastError();
}

template <typename Scalar, int vector>
cudaError_t launch_for_device(const Input& in, const ScanPlan& plan, const ScanOutput& out,
                              cudaStream_t stream) {
  int device = 0, multiprocessors = 0, shared = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) return error;
  // Devices with less shared memory (100 KiB) count in the second-level cache.
  const bool fits = shared >= static_cast<int>(sizeof(BlockMemory)) + kHistogramBins * 4;
  if (out.column_partials) {
    return fits ? launch<Scalar, vector, true, true>(in, plan, out, multiprocessors, stream)
                : launch<Scalar, vector, true, false>(in, plan, out, multiprocessors, stream);
  }
  return fits ? launch<Scalar, vector, false, true>(in, plan, out, multiprocessors, stream)
              : launch<Scalar, vector, false, false>(in, plan, out, multiprocessors, stream);
}

template <typename Scalar>
cudaError_t launch_for_vector(const Input& in, const ScanPlan& plan, const ScanOutput& out,
                              cudaStream_t stream) {
  return plan.vector == 4 ? launch_for_device<Scalar, 4>(in, plan, out, stream)
                          : launch_for_device<Scalar, 1>(in, plan, out, stream);
}

}  // namespace

ScanPlan plan_scan(const Input& in, int multiprocessors) {
  ScanPlan plan{};
  const bool aligned = (in.C | in.batch_stride | in.token_stride) % 4 == 0 &&
                       reinterpret_cast<uintptr_t>(in.x) % (4 * width_of(in.type)) == 0;
  plan.vector = aligned ? 4 : 1;
  plan.columns_per_chunk = static_cast<int64_t>(kThreads) * plan.vector;
  plan.chunks = (in.C + plan.columns_per_chunk - 1) / plan.columns_per_chunk;
  // Two units for each multiprocessor where there is so much work, in strips of 4 to kMaxRows rows.
  const int64_t wanted = in.B * in.T * plan.chunks / (2 * std::max(multiprocessors, 1));
  plan.rows_per_strip = std::clamp<int64_t>(wanted / kPrefetch * kPrefetch, kPrefetch, kMaxRows);
  plan.strips = (in.T + plan.rows_per_strip - 1) / plan.rows_per_strip;
  plan.units = in.B * plan.strips * plan.chunks;
  return plan;
}

cudaError_t scan(const Input& in, const ScanPlan& plan, const ScanOutput& out, cudaStream_t stream) {
  switch (in.type) {
    case ElementType::kFloat16:
      return launch_for_vector<__half>(in, plan, out, stream);
    case ElementType::kBFloat16:
      return launch_for_vector<__nv_bfloat16>(in, plan, out, stream);
    case ElementType::kFloat32:
      return launch_for_vector<float>(in, plan, out, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t middle_means(const Input& in, double* shift, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(in.B);
  switch (in.type) {
    case ElementType::kFloat16:
      middle_mean_kernel<__half><<<blocks, 256, 0, stream>>>(in, shift);
      break;
    case ElementType::kBFloat16:
      middle_mean_kernel<__nv_bfloat16><<<blocks, 256, 0, stream>>>(in, shift);
      break;
    case ElementType::kFloat32:
      middle_mean_kernel<float><<<blocks, 256, 0, stream>>>(in, shift);
      break;
  }
  return cudaGetLastError();
}

cudaError_t add_partials(const double* partials, int64_t strips, int64_t C, double* sums,
                         cudaStream_t stream) {
  add_partials_kernel<<<static_cast<unsigned>((C + 127) / 128), 128, 0, stream>>>(partials, strips, C, sums);
  return cudaGetLastError();
}

cudaError_t gather_above(const Input& in, const uint32_t* token_max, const float* threshold, Entry* entries,
                         uint32_t room, uint32_t* count, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(in.B * in.T, 4096));
  switch (in.type) {
    case ElementType::kFloat16:
      gather_kernel<__half><<<blocks, 256, 0, stream>>>(in, token_max, threshold, entries, room, count);
      break;
    case ElementType::kBFloat16:
      gather_kernel<__nv_bfloat16>
          <<<blocks, 256, 0, stream>>>(in, token_max, threshold, entries, room, count);
      break;
    case ElementType::kFloat32:
      gather_kernel<float><<<blocks, 256, 0, stream>>>(in, token_max, threshold, entries, room, count);
      break;
  }
  return cudaGetLastError();
}

cudaError_t count_keys(const Input& in, const uint32_t* bins, int32_t bin_count, uint32_t* counts,
                       cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(in.B * in.T, 4096));
  count_keys_kernel<<<blocks, 256, 0, stream>>>(in, bins, bin_count, counts);
  return cudaGetLastError();
}

}  // namespace outliers::stats::cuda
