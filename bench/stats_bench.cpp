// What the statistics of one layer cost, beside the ATen calls that a researcher would write for the same
// numbers and beside the matrix products of that layer. Shapes: Qwen2.5-0.5B, 4 sequences of 1024 tokens,
// float32.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include "outliers/core/memory.h"
#include "outliers/stats/activations.h"
#include "outliers/stats/attention.h"
#include "outliers/stats/weights.h"

namespace outliers::stats {
namespace {

constexpr int64_t kSequences = 4, kTokens = 1024, kWidth = 896, kMlp = 4864, kKeyWidth = 128;
constexpr int64_t kHeads = 14;

[[maybe_unused]] const int installed = [] {
  install_tensor_allocator();  // as the program runs
  return 0;
}();

/// Normal values, channels of different size, two massive activations in each sequence.
at::Tensor activations(int64_t channels, at::ScalarType dtype = at::kFloat) {
  at::manual_seed(3);
  at::Tensor x = at::randn({kSequences, kTokens, channels}) * at::rand({channels}).add(0.1);
  x.select(1, 0).select(1, channels / 2).fill_(-1500.0);
  x.select(1, 9).select(1, 3).fill_(700.0);
  return x.to(dtype);
}

struct Matrix {
  const char* name;
  int64_t out, in;
};
constexpr Matrix kMatrices[] = {{"q", kWidth, kWidth}, {"k", kKeyWidth, kWidth}, {"v", kKeyWidth, kWidth},
                                {"o", kWidth, kWidth}, {"gate", kMlp, kWidth},   {"up", kMlp, kWidth},
                                {"down", kWidth, kMlp}};

std::vector<at::Tensor> layer_weights() {
  at::manual_seed(4);
  std::vector<at::Tensor> weights;
  for (const Matrix& m : kMatrices) weights.push_back(at::randn({m.out, m.in}) * 0.02);
  return weights;
}

void count(benchmark::State& state, const at::Tensor& x) {
  state.SetItemsProcessed(state.iterations() * x.numel());
}

void activation_summary(benchmark::State& state, int64_t channels, at::ScalarType dtype) {
  const at::Tensor x = activations(channels, dtype);
  for (auto _ : state) {
    ActivationAccumulator accumulator;
    for (int64_t s = 0; s < kSequences; s += 2)
      accumulator.add(x.slice(0, s, s + 2), s);  // as the runner does
    if (accumulator.needs_refinement()) {
      state.SkipWithError("a second look was needed");
      return;
    }
    benchmark::DoNotOptimize(accumulator.finish());
  }
  count(state, x);
}

/// The same numbers by ATen calls; `sorted` takes median and top values from one sort.
void activation_aten(benchmark::State& state, int64_t channels, at::ScalarType dtype, bool sorted) {
  const at::Tensor x = activations(channels, dtype);
  for (auto _ : state) {
    const at::Tensor a = x.abs();
    benchmark::DoNotOptimize(x.isnan().sum().item<int64_t>() + x.isinf().sum().item<int64_t>());
    benchmark::DoNotOptimize(a.mean().item<double>());
    benchmark::DoNotOptimize(a.amax(2));
    benchmark::DoNotOptimize(a.amax({0, 1}));
    double median = 0;
    if (sorted) {
      const at::Tensor order = std::get<0>(a.flatten().sort());
      median = order[order.numel() / 2].item<double>();
    } else {
      median = a.median().item<double>();
      benchmark::DoNotOptimize(a.flatten().topk(10));
      benchmark::DoNotOptimize(a.flatten(1).topk(3));
    }
    benchmark::DoNotOptimize((a > std::max(100.0, 1000 * median)).nonzero());
    for (int64_t s = 0; s < kSequences; ++s) {
      const at::Tensor v = x[s].to(at::kFloat), d = v - v.mean();
      benchmark::DoNotOptimize((d.pow(4).mean() / (d.pow(2).mean().pow(2) + 1e-6)).item<double>());
    }
  }
  count(state, x);
}

void weights_summary(benchmark::State& state) {
  const std::vector<at::Tensor> weights = layer_weights();
  for (auto _ : state) {
    for (const at::Tensor& w : weights) benchmark::DoNotOptimize(weight_summary(w));
  }
}

void weights_aten(benchmark::State& state) {
  const std::vector<at::Tensor> weights = layer_weights();
  for (auto _ : state) {
    for (const at::Tensor& w : weights) {
      const at::Tensor a = w.abs();
      for (int64_t along : {0, 1}) {
        const auto [max, place] = a.max(along);
        benchmark::DoNotOptimize((max / a.mean(along)).topk(10));
      }
      benchmark::DoNotOptimize(a.median().item<double>());
      const at::Tensor d = w - w.mean();
      benchmark::DoNotOptimize((d.pow(4).mean() / d.pow(2).mean().pow(2)).item<double>());
    }
  }
}

void attention_summary(benchmark::State& state) {
  at::manual_seed(5);
  const at::Tensor sums = at::rand({kSequences, kHeads, kTokens}) * 2, rates = at::rand({kSequences, kHeads});
  for (auto _ : state) {
    AttentionAccumulator accumulator;
    accumulator.add(sums, rates, 0);
    benchmark::DoNotOptimize(accumulator.finish());
  }
}

/// What the layer itself costs at least.
void layer_products(benchmark::State& state) {
  const std::vector<at::Tensor> weights = layer_weights();
  const at::Tensor narrow = activations(kWidth).flatten(0, 1), wide = activations(kMlp).flatten(0, 1);
  for (auto _ : state) {
    for (const at::Tensor& w : weights) {
      benchmark::DoNotOptimize(at::matmul(w.size(1) == kWidth ? narrow : wide, w.t()));
    }
  }
}

void configure(benchmark::internal::Benchmark* b) {
  b->Unit(benchmark::kMillisecond)->UseRealTime();
}

BENCHMARK(layer_products)->Apply(configure);
BENCHMARK_CAPTURE(activation_summary, resid_out, kWidth, at::kFloat)->Apply(configure);
BENCHMARK_CAPTURE(activation_aten, resid_out_median, kWidth, at::kFloat, false)->Apply(configure);
BENCHMARK_CAPTURE(activation_aten, resid_out_sort, kWidth, at::kFloat, true)->Apply(configure);
BENCHMARK_CAPTURE(activation_summary, down_in, kMlp, at::kFloat)->Apply(configure);
BENCHMARK_CAPTURE(activation_aten, down_in_median, kMlp, at::kFloat, false)->Apply(configure);
BENCHMARK_CAPTURE(activation_aten, down_in_sort, kMlp, at::kFloat, true)->Apply(configure);
BENCHMARK_CAPTURE(activation_summary, down_in_bfloat16, kMlp, at::kBFloat16)->Apply(configure);
BENCHMARK_CAPTURE(activation_aten, down_in_bfloat16_median, kMlp, at::kBFloat16, false)->Apply(configure);
BENCHMARK(weights_summary)->Apply(configure);
BENCHMARK(weights_aten)->Apply(configure);
BENCHMARK(attention_summary)->Apply(configure);

}  // namespace
}  // namespace outliers::stats
