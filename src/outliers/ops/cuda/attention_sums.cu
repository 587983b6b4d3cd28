// One block owns a tile of keys and walks over the tiles of queries that see them. 16-bit types: the keys are
// the A operand of mma.m16n8k16 and stay in registers, the queries stream through shared memory by cp.async,
// so a thread's part of a key's sum is one register. float32: plain multiply-adds on 64 x 64 tiles (no TF32).
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "outliers/ops/cuda/attention_sums.h"

namespace outliers::ops::cuda {

namespace {

constexpr int kQueryTile = 64;
constexpr int kWarps = 4;
constexpr float kLog2e = 1.44269504f;

__device__ bool visible(const AttentionSumsArguments& a, int query, int key) {
  const int position = a.S - a.T + query;
  return (!a.causal || key <= position) && (a.window == 0 || key > position - a.window);
}

/// Tiles of queries [first, last) that see any of keys [key, key + keys).
__device__ void query_tiles(const AttentionSumsArguments& a, int key, int keys, int* first, int* last) {
  int begin = 0, end = a.T;
  if (a.causal) begin = max(0, key - (a.S - a.T));
  if (a.window > 0) end = min(a.T, key + keys - 1 + a.window - (a.S - a.T));
  *first = begin / kQueryTile;
  *last = (end + kQueryTile - 1) / kQueryTile;
}

/// Whether every query of a tile sees every key of a tile.
__device__ bool all_visible(const AttentionSumsArguments& a, int query, int key, int keys) {
  return query + kQueryTile <= a.T && visible(a, query, key + keys - 1) &&
         visible(a, query + kQueryTile - 1, key);
}

__device__ void copy_16_bytes(void* shared, const void* global, bool present) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  // A source size of 0 fills with zeros.
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(global),
               "r"(present ? 16 : 0));
}

__device__ void load_matrices(uint32_t (&out)[4], const void* shared) {
  const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(from));
}

template <typename Scalar>
__device__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ void multiply_add<__half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ void multiply_add<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// The extremes of a thread's scores.
struct Extremes {
  float largest = -INFINITY, smallest = INFINITY;
  // Of NaN neither comparison holds.
  __device__ void add(float x) {
    if (x > largest) largest = x;
    if (x < smallest) smallest = x;
  }
  /// Into *to_largest and *to_smallest, by every thread of the warp. Floats of one sign are ordered as
  /// integers are; negative ones the other way round.
  __device__ void put(float* to_largest, float* to_smallest) {
    for (int distance = 16; distance > 0; distance /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, distance));
      smallest = fminf(smallest, __shfl_xor_sync(~0u, smallest, distance));
    }
    if (threadIdx.x % 32 != 0) return;
    raise(to_largest, largest);
    lower(to_smallest, smallest);
  }

  static __device__ void raise(float* to, float x) {
    if (__float_as_int(x) >= 0) {
      atomicMax(reinterpret_cast<int*>(to), __float_as_int(x));
    } else {
      atomicMin(reinterpret_cast<unsigned*>(to), __float_as_uint(x));
    }
  }

 private:
  static __device__ void lower(float* to, float x) {
    if (__float_as_int(x) >= 0) {
      atomicMin(reinterpret_cast<int*>(to), __float_as_int(x));
    } else {
      atomicMax(reinterpret_cast<unsigned*>(to), __float_as_uint(x));
    }
  }
};

/// -p log p of p = 2^x, in nats.
__device__ float entropy_of(float p, float x) {
  return p > 0 ? -p * x * (1 / kLog2e) : 0.0f;
}

/// The block's sum of x, in a fixed order: in the first thread.
template <int threads>
__device__ float block_sum(float x) {
  __shared__ float parts[threads / 32];
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < threads / 32; ++warp) sum += parts[warp];
  return sum;
}

__device__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// D: head width rounded up to 32. A warp owns `tiles` tiles of 16 keys. Grid: (key tiles, H, B).
template <typename Scalar, int D, int tiles>
__global__ void __launch_bounds__(kWarps * 32) sums_16_bit(const AttentionSumsArguments a) {
  constexpr int kKeys = kWarps * 16 * tiles;
  constexpr int kRow = D + 8;  // an odd number of 16-byte chunks, so that ldmatrix meets no bank twice
  extern __shared__ __align__(16) unsigned char memory[];
  auto* queries = reinterpret_cast<Scalar*>(memory);                      // [2][kQueryTile][kRow]
  auto* lse = reinterpret_cast<float*>(queries + 2 * kQueryTile * kRow);  // [2][kQueryTile], base 2

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4, pair = lane % 4;
  const int h = blockIdx.y, b = blockIdx.z, first_key = blockIdx.x * kKeys;
  const int warp_key = first_key + warp * 16 * tiles;
  const auto* q = static_cast<const Scalar*>(a.q) + b * a.q_batch_stride + h * a.q_head_stride;
  const auto* k = static_cast<const Scalar*>(a.k) + b * a.k_batch_stride + h / (a.H / a.Hk) * a.k_head_stride;
  const float* log_sum_exp = a.log_sum_exp + (static_cast<int64_t>(b) * a.H + h) * a.log_sum_exp_head_stride;

  // Keys as fragments of A: registers 0..3 are (row, c), (row + 8, c), (row, c + 8), (row + 8, c + 8).
  uint32_t keys[tiles][D / 16][4];
#pragma unroll
  for (int t = 0; t < tiles; ++t) {
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int key = warp_key + t * 16 + row + (r & 1) * 8, c = step * 16 + pair * 2 + (r >> 1) * 8;
        keys[t][step][r] =
            key < a.S && c < a.d ? *reinterpret_cast<const uint32_t*>(k + key * a.k_token_stride + c) : 0;
      }
    }
  }

  int first_tile, last_tile;
  query_tiles(a, first_key, min(kKeys, a.S - first_key), &first_tile, &last_tile);
  const auto fetch = [&](int tile, int buffer) {
    constexpr int kChunks = D / 8;
    for (int i = threadIdx.x; i < kQueryTile * kChunks; i += kWarps * 32) {
      const int r = i / kChunks, c = i % kChunks * 8, query = tile * kQueryTile + r;
      const bool present = query < a.T && c < a.d;
      copy_16_bytes(queries + (buffer * kQueryTile + r) * kRow + c,
                    present ? q + query * a.q_token_stride + c : q, present);
    }
    asm volatile("cp.async.commit_group;\n" ::);
    if (threadIdx.x < kQueryTile) {
      const int query = tile * kQueryTile + threadIdx.x;
      // No query: probability 0.
      lse[buffer * kQueryTile + threadIdx.x] = query < a.T ? log_sum_exp[query] * kLog2e : INFINITY;
    }
  };

  const float scale = a.scale * kLog2e;
  const int64_t head = static_cast<int64_t>(b) * a.H + h;
  float sums[tiles][2] = {};
  float entropy = 0;
  Extremes extremes;
  if (first_tile < last_tile) fetch(first_tile, 0);
  for (int tile = first_tile; tile < last_tile; ++tile) {
    const int buffer = (tile - first_tile) & 1, first_query = tile * kQueryTile;
    asm volatile("cp.async.wait_all;\n" ::);
    __syncthreads();  // this tile has come, and nobody reads the other buffer any more
    if (tile + 1 < last_tile) fetch(tile + 1, buffer ^ 1);
    const bool masked = !all_visible(a, first_query, first_key, min(kKeys, a.S - first_key));
    const Scalar* tile_queries = queries + buffer * kQueryTile * kRow;
#pragma unroll 2
    for (int n = 0; n < kQueryTile / 8; ++n) {
      float scores[tiles][4] = {};
#pragma unroll
      for (int step = 0; step < D / 16; step += 2) {
        uint32_t fragments[4];
        load_matrices(fragments, tile_queries + (n * 8 + lane % 8) * kRow + step * 16 + lane / 8 * 8);
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
          multiply_add<Scalar>(scores[t], keys[t][step], fragments[0], fragments[1]);
          multiply_add<Scalar>(scores[t], keys[t][step + 1], fragments[2], fragments[3]);
        }
      }
      const float2 base = *reinterpret_cast<const float2*>(lse + buffer * kQueryTile + n * 8 + pair * 2);
      float highest[2] = {-INFINITY, -INFINITY};  // of the thread's two queries
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int query = first_query + n * 8 + pair * 2 + (i & 1),
                    key = warp_key + t * 16 + row + (i >> 1) * 8;
          const float x = scores[t][i] * scale - ((i & 1) ? base.y : base.x);
          float p = exp2_fast(x);
          if (masked && !visible(a, query, key)) {
            p = 0;
          } else if (query < a.T && key < a.S) {
            const float score = scores[t][i] * a.scale;
            extremes.add(score);
            highest[i & 1] = fmaxf(highest[i & 1], score);
            entropy += entropy_of(p, x);
            if (key == 0) a.first_score[head * a.T + query] = score;
          }
          sums[t][i >> 1] += p;
        }
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        for (int distance = 4; distance < 32; distance *= 2)
          highest[i] = fmaxf(highest[i], __shfl_xor_sync(~0u, highest[i], distance));
        const int query = first_query + n * 8 + pair * 2 + i;
        if (row == 0 && query < a.T) Extremes::raise(a.row_max + head * a.T + query, highest[i]);
      }
    }
  }

  // The four lanes of a row hold its other queries.
  const auto row_sum = [](float x) {
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
  };
#pragma unroll
  for (int t = 0; t < tiles; ++t) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float sum = row_sum(sums[t][i]);
      const int key = warp_key + t * 16 + row + i * 8;
      if (pair == 0 && key < a.S) a.key_sums[head * a.S + key] = sum;
    }
  }
  extremes.put(a.logit_max + head, a.logit_min + head);
  entropy = block_sum<kWarps * 32>(entropy);
  if (threadIdx.x == 0) a.entropy[head * gridDim.x + blockIdx.x] = entropy;
}

/// 256 threads, a tile of 64 keys x 64 queries, 4 x 4 of them a thread. Grid: (key tiles, H, B).
__global__ void __launch_bounds__(256) sums_float(const AttentionSumsArguments a) {
  constexpr int kKeys = 64, kDepth = 16, kRow = 64 + 4;
  __shared__ __align__(16) float keys[kDepth][kRow], queries[kDepth][kRow];
  const int key_group = threadIdx.x / 16, query_group = threadIdx.x % 16;
  const int h = blockIdx.y, b = blockIdx.z, first_key = blockIdx.x * kKeys;
  const auto* q = static_cast<const float*>(a.q) + b * a.q_batch_stride + h * a.q_head_stride;
  const auto* k = static_cast<const float*>(a.k) + b * a.k_batch_stride + h / (a.H / a.Hk) * a.k_head_stride;
  const float* log_sum_exp = a.log_sum_exp + (static_cast<int64_t>(b) * a.H + h) * a.log_sum_exp_head_stride;

  int first_tile, last_tile;
  query_tiles(a, first_key, min(kKeys, a.S - first_key), &first_tile, &last_tile);
  const int64_t head = static_cast<int64_t>(b) * a.H + h;
  float sums[4] = {}, entropy = 0;
  Extremes extremes;
  for (int tile = first_tile; tile < last_tile; ++tile) {
    const int first_query = tile * kQueryTile;
    float scores[4][4] = {};
    for (int c0 = 0; c0 < a.d; c0 += kDepth) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = threadIdx.x / kDepth + i * 16, c = c0 + threadIdx.x % kDepth;
        const int key = first_key + r, query = first_query + r;
        keys[threadIdx.x % kDepth][r] = key < a.S && c < a.d ? k[key * a.k_token_stride + c] : 0.0f;
        queries[threadIdx.x % kDepth][r] = query < a.T && c < a.d ? q[query * a.q_token_stride + c] : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int c = 0; c < kDepth; ++c) {
        const float4 left = *reinterpret_cast<const float4*>(&keys[c][key_group * 4]);
        const float4 right = *reinterpret_cast<const float4*>(&queries[c][query_group * 4]);
        const float l[4] = {left.x, left.y, left.z, left.w}, r[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) scores[i][j] += l[i] * r[j];
        }
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int query = first_query + query_group * 4 + j;
      const float base = query < a.T ? log_sum_exp[query] : 0.0f;
      float highest = -INFINITY;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = first_key + key_group * 4 + i;
        if (query >= a.T || !visible(a, query, key)) continue;
        const float score = scores[i][j] * a.scale, p = expf(score - base);
        sums[i] += p;
        if (key >= a.S) continue;
        extremes.add(score);
        highest = fmaxf(highest, score);
        entropy += entropy_of(p, (score - base) * kLog2e);
        if (key == 0) a.first_score[head * a.T + query] = score;
      }
      // The threads of a query lie 16 apart: two in a warp.
      highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 16));
      if (threadIdx.x % 32 < 16 && query < a.T) Extremes::raise(a.row_max + head * a.T + query, highest);
    }
  }
  const auto group_sum = [](float x) {
    for (int distance = 1; distance < 16; distance *= 2) x += __shfl_xor_sync(~0u, x, distance);
    return x;
  };
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float sum = group_sum(sums[i]);
    const int key = first_key + key_group * 4 + i;
    if (query_group == 0 && key < a.S) a.key_sums[head * a.S + key] = sum;
  }
  extremes.put(a.logit_max + head, a.logit_min + head);
  entropy = block_sum<256>(entropy);
  if (threadIdx.x == 0) a.entropy[head * gridDim.x + blockIdx.x] = entropy;
}

/// Keys of a block of sums_16_bit for heads so wide, and of sums_float.
int keys_of_block(const AttentionSumsArguments& a) {
  if (a.type == ElementType::kFloat32) return 64;
  return kWarps * 16 * (a.d <= 128 ? 2 : 1);
}

template <typename Scalar, int D, int tiles>
cudaError_t launch_16_bit(const AttentionSumsArguments& a, cudaStream_t stream) {
  constexpr int kKeys = kWarps * 16 * tiles;
  constexpr int kBytes =
      2 * kQueryTile * ((D + 8) * static_cast<int>(sizeof(Scalar)) + static_cast<int>(sizeof(float)));
  const auto kernel = sums_16_bit<Scalar, D, tiles>;
  if (kBytes > 48 * 1024) {  // more than is granted without asking
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
    if (error != cudaSuccess) return error;
  }
  kernel<<<dim3((a.S + kKeys - 1) / kKeys, a.H, a.B), kWarps * 32, kBytes, stream>>>(a);
  return cudaGetLastError();
}

template <typename Scalar>
cudaError_t launch_for_width(const AttentionSumsArguments& a, cudaStream_t stream) {
  if (a.d <= 32) return launch_16_bit<Scalar, 32, 2>(a, stream);
  if (a.d <= 64) return launch_16_bit<Scalar, 64, 2>(a, stream);
  if (a.d <= 96) return launch_16_bit<Scalar, 96, 2>(a, stream);
  if (a.d <= 128) return launch_16_bit<Scalar, 128, 2>(a, stream);
  if (a.d <= 192) return launch_16_bit<Scalar, 192, 1>(a, stream);
  return launch_16_bit<Scalar, 256, 1>(a, stream);
}

}  // namespace

bool attention_sums_supports(const AttentionSumsArguments& a) {
  if (a.H > 65535 || a.B > 65535) return false;
  if (a.type == ElementType::kFloat32) return true;
  const bool aligned = (a.q_batch_stride | a.q_head_stride | a.q_token_stride | a.k_batch_stride |
                        a.k_head_stride | a.k_token_stride | a.d) %
                           8 ==
                       0;
  return aligned && a.d <= 256 && reinterpret_cast<uintptr_t>(a.q) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(a.k) % 16 == 0;
}

int64_t attention_sums_parts(const AttentionSumsArguments& a) {
  return (a.S + keys_of_block(a) - 1) / keys_of_block(a);
}

cudaError_t attention_sums(const AttentionSumsArguments& a, cudaStream_t stream) {
  if (a.B == 0 || a.H == 0 || a.S == 0) return cudaSuccess;
  switch (a.type) {
    case ElementType::kFloat16:
      return launch_for_width<__half>(a, stream);
    case ElementType::kBFloat16:
      return launch_for_width<__nv_bfloat16>(a, stream);
    case ElementType::kFloat32:
      sums_float<<<dim3((a.S + 63) / 64, a.H, a.B), 256, 0, stream>>>(a);
      break;
  }
  return cudaGetLastError();
}

}  // namespace outliers::ops::cuda
