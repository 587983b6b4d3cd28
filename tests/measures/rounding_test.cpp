// The errors of number formats at what linear layers read and at their matrices, against their definitions in
// float64 on tensors that transformers captured (tests/oracle/models_tiny.py). The rounding itself is
// tests/stats/formats_test.cpp's.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>

#include "outliers/io/npz.h"
#include "outliers/run/layer_weights.h"
#include "outliers/stats/formats.h"

#include "measures/measured.h"
#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::measures {
namespace {

/// By definition, of tensors [rows,K].
results::Rounding defined(const std::vector<at::Tensor>& tensors, const NumberFormat& format) {
  double error = 0, square = 0;
  int64_t nonzero = 0, flushed = 0;
  std::vector<double> blocks;
  const int64_t size = format.block > 0 ? format.block : 32;
  for (const at::Tensor& x : tensors) {
    const at::Tensor q = stats::rounded(x, format).to(at::kDouble), wide = x.to(at::kDouble);
    const at::Tensor lost = (wide - q).square();
    error += lost.sum().item<double>();
    square += wide.square().sum().item<double>();
    nonzero += (x != 0).sum().item<int64_t>();
    flushed += ((x != 0) & (q == 0)).sum().item<int64_t>();
    for (int64_t begin = 0; begin < x.size(1); begin += size) {
      const at::Tensor of_rows = lost.narrow(1, begin, std::min(size, x.size(1) - begin)).sum(1);
      for (int64_t r = 0; r < x.size(0); ++r) blocks.push_back(of_rows[r].item<double>());
    }
  }
  std::sort(blocks.rbegin(), blocks.rend());
  double worst = 0;
  for (size_t i = 0; i < std::ceil(0.001 * static_cast<double>(blocks.size())); ++i) worst += blocks[i];
  return {std::sqrt(error / square), static_cast<double>(flushed) / static_cast<double>(nonzero),
          worst / error};
}

/// `within`: relative, for what rounding makes of the last bits of x.
void expect_defined(const results::Rounded& got, const std::vector<at::Tensor>& tensors, double within,
                    const std::string& what) {
  for (const NumberFormat& format : kNumberFormats) {
    const results::Rounding* found = got.formats.find(format.name);
    ASSERT_EQ(found != nullptr, format.scaling != Scaling::none) << what << " " << format.name;
    if (found == nullptr) continue;
    const results::Rounding wanted = defined(tensors, format);
    EXPECT_NEAR(found->relative_error, wanted.relative_error, within * wanted.relative_error)
        << what << " " << format.name;
    EXPECT_NEAR(found->worst_blocks, wanted.worst_blocks, 2 * within * wanted.worst_blocks)
        << what << " " << format.name;
    EXPECT_NEAR(found->flushed, wanted.flushed, within) << what << " " << format.name;
  }
}

TEST(Rounding, HasTheErrorsOfWhatLinearLayersRead) {
  for (const char* name : {"llama_untied", "gpt2_tied", "qwen2_moe_mixed", "vit_rectangle"}) {
    const std::filesystem::path folder = tests::golden(std::string("models/") + name);
    const io::NpzReader reference(folder / "reference.npz");
    const auto model = models::Model::open(folder / "model.safetensors");
    const models::Config& c = model->config();
    const tests::Measured found =
        tests::measure(*model, {tests::golden_input(*model, reference)}, {"rounding"});
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      const auto& rounding = found.part(static_cast<size_t>(layer), "prompt").rounding;
      for (const run::Point point :
           {run::Point::attn_norm_out, run::Point::o_in, run::Point::mlp_norm_out, run::Point::down_in,
            run::Point::experts_down_in, run::Point::shared_down_in}) {
        const std::string site = run::site_name({layer, point}), what = std::string(name) + " " + site;
        const results::Rounded* got = rounding.find(run::point_name(point));
        ASSERT_EQ(got != nullptr, run::has_point(c, {layer, point})) << what;
        const auto& names = reference.names();
        if (got == nullptr || std::find(names.begin(), names.end(), site) == names.end()) continue;
        at::Tensor x = reference.read(site);
        if (point == run::Point::o_in) x = x.transpose(1, 2).flatten(2);
        std::vector<at::Tensor> sequences;
        for (int64_t n = 0; n < x.size(0); ++n)
          sequences.push_back(x[n].reshape({-1, x.size(-1)}).to(at::kFloat).contiguous());
        // The last bits of x differ; a value at a tie rounds the other way.
        expect_defined(*got, sequences, 0.02, what);
      }
    }
  }
}

TEST(WeightRounding, HasTheErrorsOfEachMatrix) {
  const auto model = models::Model::open(tests::golden("models/llama_untied/model.safetensors"));
  const tests::Measured found = tests::measure(*model, {tests::some_input(*model)}, {"weight_rounding"});
  for (int64_t layer = 0; layer < model->config().layers; ++layer) {
    const run::LayerWeights weights = run::load_layer(*model, layer, at::kFloat, at::kCPU);
    const auto& rounding = found.results.layers[static_cast<size_t>(layer)].rounding;
    EXPECT_EQ(rounding.size(), 7u);
    for (const run::LayerWeight& weight : run::projections(weights, model->config())) {
      const results::Rounded* got = rounding.find(weight.module);
      ASSERT_NE(got, nullptr) << weight.module;
      expect_defined(*got, {weight.tensor.contiguous()}, 1e-5, weight.module);
    }
  }
}

TEST(WeightRounding, TakesTheExpertsThatWereReadTogether) {
  const auto model = models::Model::open(tests::golden("models/mixtral_experts/model.safetensors"));
  const tests::Measured found =
      tests::measure(*model, {tests::some_input(*model)}, {"experts", "weight_rounding"});
  run::Stopwatch loading;
  std::vector<at::Tensor> read;
  run::LayerExperts experts(*model, 0, at::kFloat, at::kCPU, loading);
  for (const results::ExpertInput& one : found.part(0, "a").experts)
    read.push_back(experts[one.expert.number].down.contiguous());
  ASSERT_GT(read.size(), 1u);
  expect_defined(*found.results.layers[0].rounding.find("down"), read, 1e-5, "down");
  EXPECT_FALSE(found.results.layers[0].rounding.contains("router"));
}

TEST(Rounding, DoesNotDependOnHowSequencesAreSplit) {
  const auto model = models::Model::open(tests::golden("models/llama_untied/model.safetensors"));
  at::manual_seed(9);
  const at::Tensor ids = at::randint(model->config().vocabulary, {6, 9}, at::kLong);
  run::RunOptions one_by_one;
  one_by_one.chunk_tokens = 9;
  const auto whole = tests::measure(*model, {{"corpus", ids}}, {"rounding"});
  const auto split = tests::measure(*model, {{"corpus", ids}}, {"rounding"}, one_by_one);
  for (const auto& [point, rounded] : whole.part(0, "corpus").rounding) {
    for (const auto& [format, here] : rounded.formats) {
      const results::Rounding& there = *split.part(0, "corpus").rounding.find(point)->formats.find(format);
      EXPECT_NEAR(here.relative_error, there.relative_error, 1e-3 * here.relative_error) << point << format;
      EXPECT_NEAR(here.worst_blocks, there.worst_blocks, 1e-2 * here.worst_blocks) << point << format;
    }
  }
}

}  // namespace
}  // namespace outliers::measures
