// What a survey says it takes against the tensors that are alive in it, in memory and with a disk.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/core/memory.h"
#include "outliers/measures/measure_set.h"
#include "outliers/run/memory_plan.h"
#include "outliers/run/runner.h"

#include "measures/measured.h"
#include "run/counting_allocator.h"
#include "support.h"

namespace outliers::measures {
namespace {

/// The observer's histograms, which are no tensors.
constexpr uint64_t kHistograms = uint64_t{45} << 20;

/// A prompt and a corpus of some 24,000 tokens.
std::vector<run::Input> inputs_for(const models::Config& c) {
  at::manual_seed(3);
  if (!models::reads_images(c)) {
    return {{"prompt", at::randint(c.vocabulary, {1, 6}, at::kLong)},
            {"corpus", at::randint(c.vocabulary, {3000, 8}, at::kLong)}};
  }
  const models::PatchGrid grid = models::patch_grid(c, c.vision.image_height, c.vision.image_width, "images");
  const at::Tensor pixels = at::randn({24000 / models::image_tokens(c, grid), c.vision.channels,
                                       c.vision.image_height, c.vision.image_width});
  return {run::image_input(c, "prompt", pixels.narrow(0, 0, 1)), run::image_input(c, "corpus", pixels)};
}

TEST(ObserverMemory, CoversWhatASurveyKeeps) {
  for (const char* name :
       {"llama_untied", "gpt2_tied", "mixtral_experts", "qwen2_moe_mixed", "dinov2_with_registers_shrunk"}) {
    const auto model =
        models::Model::open(tests::golden(std::string("models/") + name + "/model.safetensors"));
    const models::Config& c = model->config();
    const std::vector<run::Input> inputs = inputs_for(c);
    const tests::Numbers numbers;
    const auto new_set = [&] {
      return std::make_unique<MeasureSet>(Context{c, numbers, tests::measured_inputs(inputs)},
                                          choose_measures({}, c));
    };
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      run::RunOptions options;
      options.dtype = dtype;
      options.memory_limit = uint64_t{1} << 60;
      const auto plan = [&] {
        const auto set = new_set();
        return run::plan_memory(*model, inputs, {set.get()}, options, 0);
      };
      const auto peak = [&](uint64_t limit) {
        options.memory_limit = limit;
        const auto set = new_set();
        const tests::CountingAllocator counting;
        const run::RunTimes times = run::forward(*model, inputs, {set.get()}, options);
        EXPECT_EQ(times.spilled_bytes > 0, limit > 0);
        EXPECT_FALSE(set->take_arrays().empty());
        return tests::CountingAllocator::peak();
      };
      const run::MemoryPlan free = plan();
      const uint64_t in_memory = peak(0);
      EXPECT_LE(in_memory, free.total - free.reserve) << name << " " << toString(dtype);
      EXPECT_LT(free.total - free.reserve, kHistograms + 4 * in_memory) << name << " " << toString(dtype);

      options.memory_limit = free.total - 1;
      const run::MemoryPlan spilled = plan();
      EXPECT_TRUE(spilled.spills);
      const uint64_t on_disk = peak(resident_bytes() + spilled.total + (free.total - spilled.total) / 2);
      EXPECT_LE(on_disk, spilled.total - spilled.reserve) << name << " " << toString(dtype);
      EXPECT_LT(on_disk, in_memory) << name << " " << toString(dtype);
    }
  }
}

}  // namespace
}  // namespace outliers::measures
