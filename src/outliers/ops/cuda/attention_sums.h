// The second pass of attention on CUDA: from the log-sum-exp that the fast forward kernel leaves, the
// probabilities are formed once more tile by tile and added up per key. Raw pointers and a stream, no torch.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

namespace outliers::ops::cuda {

enum class ElementType { kFloat16, kBFloat16, kFloat32 };

/// Strides count elements; the last axis of q and k is contiguous.
struct AttentionSumsArguments {
  const void* q;  ///< [B,H,T,d]
  const void* k;  ///< [B,Hk,S,d]
  int64_t q_batch_stride, q_head_stride, q_token_stride;
  int64_t k_batch_stride, k_head_stride, k_token_stride;
  const float* log_sum_exp;  ///< [B,H,T], natural logarithm; sinks included where there are any
  int64_t log_sum_exp_head_stride;
  float* key_sums;               ///< [B,H,S], written whole
  float *logit_max, *logit_min;  ///< [B,H]: set to -inf and +inf, come back as the extremes of the scores
  float* row_max;                ///< [B,H,T]: set to -inf, come back as each query's largest score
  float* first_score;            ///< [B,H,T]: of the queries that see the first key, its score
  float* entropy;  ///< [B,H,attention_sums_parts()]: each written; their sum is the queries' entropies'
  ElementType type;
  int32_t B, H, Hk, T, S, d;
  float scale;
  bool causal;
  int32_t window;  ///< 0 = no limit
};

/// Whether the kernel can read these: 16-bit types need d <= 256 in multiples of 8 and rows on 16 bytes.
bool attention_sums_supports(const AttentionSumsArguments& arguments);

/// Parts of the keys that are summed by themselves.
int64_t attention_sums_parts(const AttentionSumsArguments& arguments);

/// Deterministic: each sum is formed by one block in a fixed order, and extremes have none. Every query must
/// see a key.
cudaError_t attention_sums(const AttentionSumsArguments& arguments, cudaStream_t stream);

}  // namespace outliers::ops::cuda
