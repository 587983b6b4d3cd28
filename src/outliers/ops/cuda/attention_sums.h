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
  float* key_sums;    ///< [B,H,S], written whole
  float* sink_rates;  ///< [B,H]: mean of the first key's probabilities over the first sink_queries queries
  float *logit_max, *logit_min;  ///< [B,H]: set to -inf and +inf, come back as the extremes of the scores
  ElementType type;
  int32_t B, H, Hk, T, S, d;
  float scale;
  bool causal;
  int32_t window;  ///< 0 = no limit
  int32_t sink_queries;
};

/// Whether the kernel can read these: 16-bit types need d <= 256 in multiples of 8 and rows on 16 bytes.
bool attention_sums_supports(const AttentionSumsArguments& arguments);

/// Deterministic: each sum is formed by one block in a fixed order, and extremes have none. Every query must
/// see a key.
cudaError_t attention_sums(const AttentionSumsArguments& arguments, cudaStream_t stream);

}  // namespace outliers::ops::cuda
