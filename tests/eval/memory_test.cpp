// Logits by blocks: the same as whole, in the memory that is planned for them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/eval/branch_scores.h"
#include "outliers/run/memory_plan.h"
#include "outliers/run/runner.h"

#include "run/counting_allocator.h"
#include "run/golden_inputs.h"
#include "run/plain_products.h"
#include "run/recorder.h"
#include "support.h"

namespace outliers::eval {
namespace {

std::unique_ptr<models::Model> open(const std::string& name) {
  return models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
}

/// Scores every token but the first of each sequence.
Windows::Scored all_but_first(const at::Tensor& ids) {
  const int64_t B = ids.size(0), T = ids.size(1);
  return {(at::arange(B).unsqueeze(1) * T + at::arange(T - 1)).flatten(), ids.slice(1, 1, T).flatten()};
}

at::Tensor some_ids(const models::Model& model, int64_t B, int64_t T) {
  at::manual_seed(5);
  return at::randint(model.config().vocabulary, {B, T}, at::kLong);
}

TEST(LogitBlocks, GiveWhatWholeLogitsGive) {
  for (const std::string& name : tests::golden_models()) {
    const auto model = open(name);
    if (!has_head(model->config())) continue;
    const at::Tensor ids = some_ids(*model, 5, 9);
    const Windows::Scored scored = all_but_first(ids);
    for (const int64_t chunk : {1, 18, 2048}) {
      TokenScores scores(scored, model->config().vocabulary);
      run::Recorder whole(run::parse_sites("logits", model->config()), 0);
      run::RunOptions options;
      options.chunk_tokens = chunk;
      options.logits = true;
      options.logit_blocks = &scores;
      run::forward(*model, {{"a", ids}}, {&whole}, options);
      const at::Tensor logits = whole.get("logits").flatten(0, 1).index_select(0, scored.places);
      const at::Tensor wanted = -logits.log_softmax(1).gather(1, scored.targets.unsqueeze(1)).squeeze(1);
      EXPECT_TRUE(at::allclose(scores.nll_nats(), wanted, 1e-6, 1e-6)) << name << " chunk " << chunk;
    }
  }
}

/// Tensors alive together in a run that shows its logits to `scores` are no more than the plan has.
template <typename Scores>
void expect_planned(const models::Model& model, const std::vector<run::Input>& inputs, Scores& scores,
                    at::ScalarType dtype, int64_t chunk, const std::string& name) {
  run::RunOptions options;
  options.dtype = dtype;
  options.chunk_tokens = chunk;
  options.logits = true;
  options.logit_blocks = &scores;
  options.memory_limit = uint64_t{1} << 60;
  const run::MemoryPlan plan = run::plan_memory(model, inputs, {&scores}, options, 0);
  options.memory_limit = 0;
  const tests::CountingAllocator counting;
  run::forward(model, inputs, {&scores}, options);
  EXPECT_LE(tests::CountingAllocator::peak(), plan.total - plan.reserve)
      << name << " " << toString(dtype) << " chunk " << chunk;
}

TEST(LogitBlocks, TakeNoMoreMemoryThanPlanned) {
  const tests::PlainProducts plain;
  for (const std::string& name : tests::golden_models()) {
    const auto model = open(name);
    if (!has_head(model->config())) continue;
    const std::vector<run::Input> inputs = {{"a", some_ids(*model, 40, 11)}};
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (const int64_t chunk : {1, 2048}) {
        TokenScores scores(all_but_first(inputs.front().ids), model->config().vocabulary);
        expect_planned(*model, inputs, scores, dtype, chunk, name);
      }
    }
  }
}

TEST(LogitBlocks, OfBranchesTakeNoMoreMemoryThanPlanned) {
  const tests::PlainProducts plain;
  for (const char* name : {"llama_untied", "gemma3_caps", "mixtral_experts", "opt_after"}) {
    const auto model = open(name);
    std::vector<run::Input> inputs = {{"a", some_ids(*model, 40, 11)}};
    for (const char* edits : {"layer.1.resid_out[top=3]=zero", "layer.0.attn_out[top=3,random=1]=zero",
                              "final_norm_out=scale(2)", "layer.1.resid_mid=scale(1)"}) {
      inputs.push_back({edits});
      inputs.back().parent = 0;
      inputs.back().edits = run::parse_edits(edits, model->config());
    }
    for (const int64_t chunk : {1, 2048}) {
      BranchScores scores(all_but_first(inputs.front().ids), model->config().vocabulary, inputs.size(),
                          nullptr);
      expect_planned(*model, inputs, scores, at::kFloat, chunk, name);
    }
  }
}

}  // namespace
}  // namespace outliers::eval
