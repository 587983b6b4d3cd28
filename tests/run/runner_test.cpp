// How the runner walks layers, inputs and chunks, and what it promises its observers.
#include "outliers/run/runner.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/io/npz.h"
#include "outliers/run/layer_weights.h"

#include "run/golden_inputs.h"
#include "run/recorder.h"
#include "support.h"

namespace outliers::run {
namespace {

using testing::HasSubstr;

class Runner : public testing::Test {
 protected:
  const std::unique_ptr<models::Model> model_ =
      models::Model::open(tests::golden("models/qwen2_window/model.safetensors"));
  at::Tensor ids(int64_t B, int64_t T) const {
    at::manual_seed(7);
    return at::randint(model_->config().vocabulary, {B, T}, at::kLong);
  }
};

TEST_F(Runner, GivesTheSameInAnyChunks) {
  const std::vector<Input> inputs = {{"a", ids(5, 6)}, {"b", ids(1, 9)}};
  RunOptions options;
  options.logits = true;
  options.dtype = at::kDouble;
  for (size_t input : {size_t{0}, size_t{1}}) {
    Recorder whole(input);
    forward(*model_, inputs, {&whole}, options);
    for (int64_t chunk : {1, 13, 18}) {
      options.chunk_tokens = chunk;
      Recorder parts(input);
      forward(*model_, inputs, {&parts}, options);
      for (const auto& [name, tensors] : whole.parts()) {
        EXPECT_TRUE(at::allclose(whole.get(name), parts.get(name), 1e-12, 1e-13))
            << name << " chunk " << chunk;
      }
    }
  }
}

TEST_F(Runner, ShowsPointsInOrderAndOnlyThoseWanted) {
  const std::vector<Site> sites = parse_sites("layer.*.down_in,layer.1.query,logits", model_->config());
  Recorder recorder(sites, 0);
  RunOptions options;
  options.logits = true;
  forward(*model_, {{"a", ids(1, 6)}}, {&recorder}, options);
  EXPECT_EQ(recorder.order(), sites);
}

/// Copies what it is shown, and keeps the shown tensor too.
class Keeper : public Observer {
 public:
  bool wants(const Site& site, size_t) const override {
    return site.point != Point::attn_logits && site.point != Point::attn_probs;
  }
  void on_point(const Site& site, const Slice&, const at::Tensor& x) override {
    kept.push_back({site, x, x.clone()});
  }
  struct Entry {
    Site site;
    at::Tensor shown, copy;
  };
  std::vector<Entry> kept;
};

TEST_F(Runner, NeverWritesToWhatAnObserverHolds) {
  Keeper keeper;
  RunOptions options;
  options.logits = true;
  forward(*model_, {{"a", ids(2, 6)}}, {&keeper}, options);
  EXPECT_EQ(keeper.kept.size(), 3 * 17 + 2u);
  for (const Keeper::Entry& entry : keeper.kept) {
    EXPECT_TRUE(at::equal(entry.shown, entry.copy)) << site_name(entry.site);
  }
}

TEST_F(Runner, PointsDoNotDependOnWhoLooks) {
  Recorder all;
  Recorder few(parse_sites("layer.*.resid_out", model_->config()), 0);
  forward(*model_, {{"a", ids(2, 6)}}, {&all}, {});
  forward(*model_, {{"a", ids(2, 6)}}, {&few}, {});
  for (const auto& [name, tensors] : few.parts())
    EXPECT_TRUE(at::equal(few.get(name), all.get(name))) << name;
}

class WeightsAndSums : public Observer {
 public:
  bool wants(const Site& site, size_t) const override { return site.point == Point::attn_probs; }
  bool wants_weights(int64_t layer) const override { return layer == 1; }
  bool wants_attention_sums(int64_t, size_t) const override { return true; }
  void on_weight(int64_t, const LayerWeight& weight) override {
    modules.push_back(weight.module), last = weight.tensor;
    if (weight.expert >= 0) experts.insert(weight.expert);
  }
  void on_point(const Site& site, const Slice&, const at::Tensor& x) override { probs[site.layer] = x; }
  void on_attention_sums(int64_t layer, const Slice&, const ops::AttentionSums& sums) override {
    EXPECT_TRUE(at::allclose(sums.key_sums, probs.at(layer).sum(2), 1e-4, 1e-5)) << "layer " << layer;
    ++layers;
  }
  void on_layer_end(int64_t layer) override { EXPECT_EQ(layer + 1, layers); }
  std::vector<std::string> modules;
  std::set<int64_t> experts;
  std::map<int64_t, at::Tensor> probs;
  at::Tensor last;
  int64_t layers = 0;
};

TEST_F(Runner, ShowsWeightsAndAttentionSums) {
  WeightsAndSums observer;
  const RunTimes times = forward(*model_, {{"a", ids(2, 6)}}, {&observer}, {});
  EXPECT_TRUE(at::equal(observer.last, model_->load("layer.1.down.weight", at::kFloat)));
  EXPECT_EQ(observer.layers, 3);
  EXPECT_GT(times.first_product_seconds, 0);
  EXPECT_GT(times.load_seconds, 0);
  EXPECT_GT(times.forward_seconds, 0);
}

TEST(RunnerOfEveryFamily, ShowsItsProjectionsAndAttentionSums) {
  for (const std::string& name : tests::golden_models()) {
    const auto model = models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
    const models::Config& c = model->config();
    WeightsAndSums observer;
    forward(*model, {tests::some_input(*model)}, {&observer}, {});
    EXPECT_EQ(observer.layers, c.layers) << name;
    std::vector<std::string> wanted = {"q", "k", "v", "o", "gate", "up", "down"};
    if (!c.gated_mlp) std::erase(wanted, "gate");
    if (is_routed(c, 1)) wanted.insert(wanted.begin() + 4, "router");
    // A layer of experts shows those of the shared one first, if it has one, and then each that was chosen.
    const bool own = !is_routed(c, 1) || c.experts.shared_width > 0;
    wanted.resize(own ? wanted.size() : 5);
    for (size_t chosen = observer.experts.size(); chosen > 0; --chosen) {
      for (const char* module : {"gate", "up", "down"}) wanted.emplace_back(module);
    }
    EXPECT_EQ(observer.modules, wanted) << name;
    EXPECT_EQ(observer.last.size(0), c.width) << name;
    EXPECT_EQ(observer.last.size(1), is_routed(c, 1) ? c.experts.width : c.mlp_width) << name;
  }
}

TEST(RunnerOfEveryFamily, SharesTheMemoryOfFusedProjections) {
  const auto model = models::Model::open(tests::golden("models/phi3_long/model.safetensors"));
  const LayerWeights w = load_layer(*model, 0, at::kFloat, at::kCPU);
  EXPECT_TRUE(w.mlp.gate.is_alias_of(w.mlp.up));
  for (const LayerWeight& weight : projections(w, model->config())) {
    if (weight.module != "v") continue;
    EXPECT_TRUE(weight.tensor.is_alias_of(w.qkv));
  }
  const auto transposed = models::Model::open(tests::golden("models/gpt2_tied/model.safetensors"));
  EXPECT_EQ(load_layer(*transposed, 0, at::kFloat, at::kCPU).qkv.stride(0), 1);
}

class SeenWeights : public Observer {
 public:
  bool wants(const Site&, size_t) const override { return false; }
  bool wants_weights(int64_t layer) const override { return layer == 1; }
  void on_weight(int64_t, const LayerWeight& weight) override {
    ++matrices;
    if (weight.expert >= 0) experts.insert(weight.expert);
  }
  size_t matrices = 0;
  std::set<int64_t> experts;
};

TEST(RunnerOfExperts, ReadsThoseThatATokenChose) {
  const auto model = models::Model::open(tests::golden("models/mixtral_experts/model.safetensors"));
  const Input one{"a", at::full({1, 1}, 3, at::kLong)}, all{"b", at::arange(20).view({2, 10})};
  for (const std::vector<Input>& inputs : {std::vector<Input>{one}, std::vector<Input>{one, all}}) {
    SeenWeights weights;
    std::set<int64_t> wanted;
    for (size_t input = 0; input < inputs.size(); ++input) {
      Recorder chosen({{1, Point::experts_index}}, input);
      forward(*model, inputs, {&chosen}, {});
      const at::Tensor index = chosen.get("layer.1.experts.index").flatten();
      for (int64_t i = 0; i < index.numel(); ++i) wanted.insert(index[i].item<int64_t>());
    }
    RunOptions options;
    options.chunk_tokens = 10;  // the same expert is asked for by several chunks
    forward(*model, inputs, {&weights}, options);
    EXPECT_EQ(weights.experts, wanted);
    EXPECT_EQ(weights.matrices, 5 + 3 * wanted.size());
    EXPECT_EQ(wanted.size() == 2, inputs.size() == 1);
  }
}

TEST(RunnerOfLearntPositions, RefusesTokensBeyondThem) {
  const auto model = models::Model::open(tests::golden("models/gpt2_tied/model.safetensors"));
  EXPECT_THAT(tests::error_of([&] {
                forward(*model, {{"a", at::zeros({1, 13}, at::kLong)}}, {}, {});
              }),
              testing::HasSubstr("sequences of 13 tokens, but the model has only learnt 12 positions"));
}

TEST_F(Runner, StopsAfterTheLayersAskedFor) {
  Recorder recorder;
  RunOptions options;
  options.layers = 2;
  forward(*model_, {{"a", ids(1, 6)}}, {&recorder}, options);
  EXPECT_TRUE(recorder.parts().count("layer.1.resid_out"));
  EXPECT_FALSE(recorder.parts().count("layer.2.resid_in"));
}

TEST_F(Runner, RefusesWhatCannotBeRun) {
  const auto error = [&](const at::Tensor& tokens, const RunOptions& options) {
    return tests::error_of([&] { forward(*model_, {{"prompt", tokens}}, {}, options); });
  };
  EXPECT_THAT(error(at::full({1, 2}, 59, at::kLong), {}), HasSubstr("token id 59 of input 'prompt'"));
  EXPECT_THAT(error(at::full({1, 2}, -1, at::kLong), {}), HasSubstr("token id -1"));
  EXPECT_THAT(error(at::zeros({3}, at::kLong), {}), HasSubstr("ids"));
  EXPECT_THAT(error(at::zeros({1, 0}, at::kLong), {}), HasSubstr("non-empty"));
  RunOptions partial;
  partial.layers = 1;
  partial.logits = true;
  EXPECT_THAT(error(ids(1, 2), partial), HasSubstr("logits need all 3 layers"));
  RunOptions integer;
  integer.dtype = at::kInt;
  EXPECT_THAT(error(ids(1, 2), integer), HasSubstr("not Int"));
}

}  // namespace
}  // namespace outliers::run
