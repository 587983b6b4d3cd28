// Attention with and without its sums, beside PyTorch's scaled_dot_product_attention and beside the way that
// stores the whole matrix of probabilities. Shapes: Qwen2.5 0.5B on the CPU, Llama-2 7B on CUDA where there
// is a device.
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include "outliers/ops/attention.h"

namespace outliers::ops {
namespace {

struct Shape {
  int64_t B, H, Hk, T, d;
};
constexpr Shape kQwen{4, 14, 2, 1024, 64};
constexpr Shape kLlama{1, 32, 32, 1024, 128};

struct Inputs {
  at::Tensor q, k, v;
  AttentionPattern pattern;
};

/// [B,T,H,d] in memory, as projections write it.
Inputs make_inputs(const Shape& s, at::ScalarType type, at::DeviceType device) {
  at::manual_seed(1);
  const auto draw = [&](int64_t heads) {
    return at::randn({s.B, s.T, heads, s.d}, at::TensorOptions(type).device(device)).transpose(1, 2);
  };
  Inputs in{draw(s.H), draw(s.Hk), draw(s.Hk), {}};
  in.pattern.scale = 1.0 / std::sqrt(static_cast<double>(s.d));
  return in;
}

/// Waits for the device: a sum of one element that goes to the host.
void finish(const at::Tensor& x) {
  if (x.is_cuda()) x.flatten().slice(0, 0, 1).to(at::kCPU);
}

template <typename Function>
void run(benchmark::State& state, const Shape& shape, at::ScalarType type, at::DeviceType device,
         Function function) {
  if (device == at::kCUDA && !at::hasCUDA()) {
    state.SkipWithError("no CUDA device");
    return;
  }
  const at::NoGradGuard no_grad;
  const Inputs in = make_inputs(shape, type, device);
  // Ten calls an iteration on CUDA, so that launching and waiting do not hide the kernels.
  const int calls = device == at::kCUDA ? 10 : 1;
  finish(function(in));
  for (auto _ : state) {
    at::Tensor out;
    for (int i = 0; i < calls; ++i) out = function(in);
    finish(out);
    benchmark::DoNotOptimize(out);
  }
  state.counters["seconds_per_call"] =
      benchmark::Counter(static_cast<double>(state.iterations() * calls),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void register_all(const std::string& where, const Shape& shape, at::ScalarType type, at::DeviceType device) {
  const auto add = [&](const char* name, auto function) {
    benchmark::RegisterBenchmark((where + "/" + toString(type) + "/" + name).c_str(),
                                 [=](benchmark::State& state) { run(state, shape, type, device, function); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  add("sdpa", [](const Inputs& in) {
    return at::scaled_dot_product_attention(in.q, in.k, in.v, std::nullopt, 0.0, true, in.pattern.scale,
                                            in.q.size(1) != in.k.size(1));
  });
  add("attention", [](const Inputs& in) { return attention(in.q, in.k, in.v, in.pattern); });
  add("attention_with_sums", [](const Inputs& in) {
    AttentionSums sums;
    return attention(in.q, in.k, in.v, in.pattern, &sums);
  });
  add("full_matrix_float64_on_host", [](const Inputs& in) {
    // As the published analyses do: all probabilities, copied to the host as float64, then summed.
    const int64_t group = in.q.size(1) / in.k.size(1);
    const at::Tensor k = in.k.repeat_interleave(group, 1), v = in.v.repeat_interleave(group, 1);
    const at::Tensor scores = at::matmul(in.q, k.transpose(-2, -1)) * in.pattern.scale;
    const at::Tensor hidden = at::ones({k.size(2), k.size(2)}, k.options().dtype(at::kBool)).triu(1);
    const at::Tensor probs =
        at::softmax(scores.masked_fill(hidden, -std::numeric_limits<float>::infinity()), -1);
    benchmark::DoNotOptimize(probs.to(at::kCPU, at::kDouble).mean(1).sum(1));
    return at::matmul(probs, v);
  });
}

[[maybe_unused]] const int registered = [] {
  register_all("qwen_0.5b", kQwen, at::kFloat, at::kCPU);
  register_all("qwen_0.5b", kQwen, at::kBFloat16, at::kCPU);
  register_all("llama_7b_cuda", kLlama, at::kHalf, at::kCUDA);
  register_all("llama_7b_cuda", kLlama, at::kFloat, at::kCUDA);
  return 0;
}();

}  // namespace
}  // namespace outliers::ops
