// How long a checkpoint takes to open, and its tensors to become float32.
#include <benchmark/benchmark.h>

#include "outliers/core/memory.h"
#include "outliers/io/checkpoint.h"

#include "support.h"

namespace outliers::io {
namespace {

void open(benchmark::State& state, const char* file) {
  const auto path = tests::real_model(file);
  if (!std::filesystem::exists(path)) {
    state.SkipWithError("the model is not there; scripts/fetch_models.py fetches it");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(Checkpoint::open(path));
}

void dequantise(benchmark::State& state, const char* file) {
  const auto path = tests::real_model(file);
  if (!std::filesystem::exists(path)) {
    state.SkipWithError("the model is not there; scripts/fetch_models.py fetches it");
    return;
  }
  const auto checkpoint = Checkpoint::open(path);
  int64_t elements = 0;
  for (auto _ : state) {
    for (const TensorInfo& info : checkpoint->tensors()) {
      benchmark::DoNotOptimize(checkpoint->load(info.name, at::kFloat));
      elements += info.elements();
    }
  }
  state.SetItemsProcessed(elements);
}

// As the program runs: with its own memory for tensors.
[[maybe_unused]] const int installed = [] {
  install_tensor_allocator();
  return 0;
}();

BENCHMARK_CAPTURE(open, qwen, tests::kQwen)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(open, gemma, tests::kGemma)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(dequantise, qwen, tests::kQwen)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(dequantise, gemma, tests::kGemma)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace outliers::io
