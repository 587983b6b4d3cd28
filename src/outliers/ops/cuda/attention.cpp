// The binding: picks PyTorch's forward kernel, folds sinks into its log-sum-exp, and launches the second
// pass.
#include "outliers/ops/cuda/attention.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "outliers/core/error.h"
#include "outliers/ops/blocked_attention.h"
#include "outliers/ops/cuda/attention_sums.h"

namespace outliers::ops::cuda {

namespace {

struct Forward {
  at::Tensor output;       // [B,H,T,d]
  at::Tensor log_sum_exp;  // [B,H,at least T], float32
};

std::optional<Forward> forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionPattern& pattern) {
  if (q.scalar_type() == at::kFloat) {
    if (pattern.window > 0 || q.size(3) % 4 != 0 || v.size(3) % 4 != 0) return std::nullopt;
    // This kernel knows no grouped heads.
    const auto repeat = [&](const at::Tensor& x) {
      if (x.size(1) == q.size(1)) return x;
      return x.unsqueeze(2)
          .expand({x.size(0), x.size(1), q.size(1) / x.size(1), x.size(2), x.size(3)})
          .reshape({x.size(0), q.size(1), x.size(2), x.size(3)});
    };
    const auto result = at::_scaled_dot_product_efficient_attention(q, repeat(k), repeat(v), std::nullopt,
                                                                    true, 0.0, pattern.causal, pattern.scale);
    return Forward{std::get<0>(result), std::get<1>(result)};
  }
  if (q.size(3) % 8 != 0 || q.size(3) > 256 || v.size(3) != q.size(3)) return std::nullopt;
  std::optional<int64_t> left, right;
  if (pattern.window > 0) left = pattern.window - 1, right = 0;
  const auto result = at::_flash_attention_forward(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                                   std::nullopt, std::nullopt, q.size(2), k.size(2), 0.0,
                                                   pattern.causal, false, pattern.scale, left, right);
  return Forward{std::get<0>(result).transpose(1, 2), std::get<1>(result)};
}

at::Tensor rows_contiguous(const at::Tensor& x) {
  return x.stride(3) == 1 ? x : x.contiguous();
}

}  // namespace

std::optional<at::Tensor> attention(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                                    const AttentionPattern& pattern, AttentionSums* sums) {
  const at::ScalarType type = q_in.scalar_type();
  if (type != at::kHalf && type != at::kBFloat16 && type != at::kFloat) return std::nullopt;
  if (pattern.softcap > 0 || pattern.alibi_slopes.defined()) return std::nullopt;
  // With more keys than queries PyTorch's kernels do not agree on where the causal diagonal lies.
  if (pattern.causal && q_in.size(2) != k_in.size(2)) return std::nullopt;
  if (q_in.numel() == 0 || q_in.size(2) > INT32_MAX / 2 || k_in.size(2) > INT32_MAX / 2) return std::nullopt;
  const at::Tensor q = rows_contiguous(q_in), k = rows_contiguous(k_in), v = rows_contiguous(v_in);
  const c10::cuda::CUDAGuard guard(q.device());
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), S = k.size(2);

  AttentionSumsArguments a{};
  a.q = q.const_data_ptr();
  a.k = k.const_data_ptr();
  a.q_batch_stride = q.stride(0), a.q_head_stride = q.stride(1), a.q_token_stride = q.stride(2);
  a.k_batch_stride = k.stride(0), a.k_head_stride = k.stride(1), a.k_token_stride = k.stride(2);
  a.type = type == at::kHalf       ? ElementType::kFloat16
           : type == at::kBFloat16 ? ElementType::kBFloat16
                                   : ElementType::kFloat32;
  a.B = static_cast<int32_t>(B), a.H = static_cast<int32_t>(H), a.Hk = static_cast<int32_t>(k.size(1));
  a.T = static_cast<int32_t>(T), a.S = static_cast<int32_t>(S), a.d = static_cast<int32_t>(q.size(3));
  a.scale = static_cast<float>(pattern.scale);
  a.causal = pattern.causal;
  a.window = static_cast<int32_t>(std::min<int64_t>(pattern.window, INT32_MAX / 2));
  if (sums && !attention_sums_supports(a)) return std::nullopt;

  std::optional<Forward> result = forward(q, k, v, pattern);
  if (!result) return std::nullopt;
  at::Tensor log_sum_exp = result->log_sum_exp.slice(2, 0, T);
  if (pattern.sinks.defined()) {
    // One more term in each softmax's sum scales the whole row.
    const at::Tensor sinks = pattern.sinks.to(q.device(), at::kFloat).view({1, H, 1});
    const at::Tensor joined = at::logaddexp(log_sum_exp, sinks);
    result->output = (result->output * (log_sum_exp - joined).exp().unsqueeze(3)).to(type);
    log_sum_exp = joined;
  }
  if (sums) {
    const at::Tensor rows = log_sum_exp.contiguous();
    sums->key_sums = at::empty({B, H, S}, q.options().dtype(at::kFloat));
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const auto floats = q.options().dtype(at::kFloat);
    sums->logit_max = at::full({B, H}, -kInfinity, floats);
    const at::Tensor row_max = at::full({B, H, T}, -kInfinity, floats),
                     first_score = at::full({B, H, T}, -kInfinity, floats),
                     entropy = at::empty({B, H, attention_sums_parts(a)}, floats);
    sums->logit_min = -sums->logit_max;
    a.log_sum_exp = rows.const_data_ptr<float>();
    a.log_sum_exp_head_stride = T;
    a.key_sums = sums->key_sums.mutable_data_ptr<float>();
    a.row_max = row_max.mutable_data_ptr<float>();
    a.first_score = first_score.mutable_data_ptr<float>();
    a.entropy = entropy.mutable_data_ptr<float>();
    a.logit_max = sums->logit_max.mutable_data_ptr<float>();
    a.logit_min = sums->logit_min.mutable_data_ptr<float>();
    const cudaError_t error = attention_sums(a, c10::cuda::getCurrentCUDAStream(q.get_device()).stream());
    require(error == cudaSuccess, Cause{ErrorKind::device}, "attention on {}: {}", q.device().str(),
            cudaGetErrorString(error));
    sums->entropy = entropy.sum(2).div_(static_cast<double>(T));
    // A query that sees not the first key has -inf there, which is below what it sees.
    sums->first_is_top = (first_score >= row_max)
                             .slice(2, 1)
                             .sum(2, false, at::kFloat)
                             .div_(static_cast<double>(std::max<int64_t>(1, T - 1)));
    const int64_t sink_queries = std::min(T, sums->sink_queries),
                  sink_keys = detail::visible_keys(0, sink_queries, T, S, pattern).end;
    const at::Tensor scores =
        detail::masked_scores(q.narrow(2, 0, sink_queries).to(at::kFloat),
                              k.narrow(2, 0, sink_keys).to(at::kFloat), pattern, 0, T, 0, S);
    sums->sink_means = scores.sub_(rows.narrow(2, 0, sink_queries).unsqueeze(3)).exp_().sum(2);
  }
  return result->output;
}

}  // namespace outliers::ops::cuda
