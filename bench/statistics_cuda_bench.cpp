// Statistics of one layer's tensors on CUDA at the shapes of Llama-2 7B, beside the matrix products they are
// taken from, and beside copying the tensor to the host as float64, which published analyses do.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include "outliers/stats/activations.h"
#include "outliers/stats/partial.h"
#include "outliers/stats/weights.h"

namespace outliers::stats {
namespace {

constexpr int64_t kTokens = 1024, kWidth = 4096, kMlpWidth = 11008;

at::Tensor draw(at::IntArrayRef shape, at::ScalarType type) {
  at::manual_seed(1);
  at::Tensor x = at::randn(shape, at::TensorOptions(type).device(at::kCUDA));
  if (x.dim() == 3) x.select(1, 0).select(1, 7).fill_(2000.0);
  return x;
}

void add(const std::string& name, at::IntArrayRef shape_ref, at::ScalarType type,
         void (*function)(const at::Tensor&)) {
  const std::vector<int64_t> shape = shape_ref.vec();
  benchmark::RegisterBenchmark((name + "/" + toString(type)).c_str(),
                               [=](benchmark::State& state) {
                                 if (!at::hasCUDA()) {
                                   state.SkipWithError("no CUDA device");
                                   return;
                                 }
                                 const at::NoGradGuard no_grad;
                                 const at::Tensor x = draw(shape, type);
                                 function(x);
                                 for (auto _ : state) function(x);
                               })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

void linear(const at::Tensor& x) {
  static at::Tensor weight;
  if (!weight.defined() || weight.scalar_type() != x.scalar_type())
    weight = draw({kMlpWidth, kWidth}, x.scalar_type());
  constexpr int kCalls = 10;  // the time is that of ten
  at::Tensor y;
  for (int i = 0; i < kCalls; ++i) y = at::linear(x, weight);
  y.flatten().slice(0, 0, 1).to(at::kCPU);
}

void partial(const at::Tensor& x) {
  benchmark::DoNotOptimize(activation_partial(x, {}));
}

void accumulate(const at::Tensor& x) {
  ActivationAccumulator accumulator;
  accumulator.add(x, 0);
  if (accumulator.needs_refinement()) accumulator.refine(x, 0);
  benchmark::DoNotOptimize(accumulator.finish());
}

void host_copy(const at::Tensor& x) {
  const at::Tensor host = x.to(at::kCPU, at::kDouble).abs();
  benchmark::DoNotOptimize(std::get<0>(host.flatten().topk(10)));
  benchmark::DoNotOptimize(host.flatten().median());
}

void weights(const at::Tensor& w) {
  benchmark::DoNotOptimize(weight_summary(w));
}

[[maybe_unused]] const int registered = [] {
  for (const at::ScalarType type : {at::kHalf, at::kFloat}) {
    add("ten_linears_4096_11008", {1, kTokens, kWidth}, type, linear);
    for (const int64_t batch : {1, 8}) {
      add(fmt::format("partial_resid_B{}", batch), {batch, kTokens, kWidth}, type, partial);
      add(fmt::format("partial_down_in_B{}", batch), {batch, kTokens, kMlpWidth}, type, partial);
      add(fmt::format("accumulator_down_in_B{}", batch), {batch, kTokens, kMlpWidth}, type, accumulate);
    }
    add("host_copy_down_in_B1", {1, kTokens, kMlpWidth}, type, host_copy);
    add("weight_summary_down", {kWidth, kMlpWidth}, type, weights);
  }
  return 0;
}();

}  // namespace
}  // namespace outliers::stats
