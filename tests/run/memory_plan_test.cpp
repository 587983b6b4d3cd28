// What a run is said to need against the tensors that are alive in it, what follows from a limit, and that
// numbers do not depend on it.
#include "outliers/run/memory_plan.h"

#include <array>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"
#include "outliers/core/memory.h"
#include "outliers/run/layer_weights.h"

#include "run/counting_allocator.h"
#include "run/golden_inputs.h"
#include "run/plain_products.h"
#include "run/recorder.h"
#include "support.h"

namespace outliers::run {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

constexpr uint64_t kEnough = uint64_t{1} << 60;

std::unique_ptr<models::Model> open(const std::string& name) {
  return models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
}

at::Tensor ids(const models::Model& model, int64_t B, int64_t T) {
  at::manual_seed(5);
  return at::randint(model.config().vocabulary, {B, T}, at::kLong);
}

/// B sequences of T tokens, or B images.
Input input(const models::Model& model, const std::string& name, int64_t B, int64_t T) {
  const models::Config& c = model.config();
  if (!reads_images(c)) return {name, ids(model, B, T)};
  at::manual_seed(5);
  return image_input(c, name, at::randn({B, c.vision.channels, c.vision.image_height, c.vision.image_width}));
}

/// Asks for what a survey does, and keeps nothing.
class Looker : public Observer {
 public:
  bool wants(const Site& site, size_t input) const override {
    return site.layer < 0 || site.point == Point::down_in || site.point == Point::resid_out ||
           site.point == Point::experts_down_in || site.point == Point::experts_down_out ||
           (input == 0 && site.point == Point::attn_probs);
  }
  bool wants_attention_sums(int64_t, size_t) const override { return true; }
  bool wants_weights(int64_t) const override { return true; }
};

/// Bytes of tensors that were alive together in a run of all, and what the plan says of them.
struct Taken {
  uint64_t peak, planned;
  double ratio() const { return static_cast<double>(planned) / static_cast<double>(peak); }
};

Taken taken_by(const models::Model& model, const std::vector<Input>& inputs, RunOptions options) {
  Looker looker;
  options.memory_limit = kEnough;
  const MemoryPlan plan = plan_memory(model, inputs, {&looker}, options, 0);
  EXPECT_FALSE(plan.spills);
  EXPECT_EQ(plan.chunk_tokens, options.chunk_tokens);
  options.memory_limit = 0;
  const tests::CountingAllocator counting;
  forward(model, inputs, {&looker}, options);
  return {tests::CountingAllocator::peak(), plan.total - plan.reserve};
}

TEST(MemoryPlan, IsNotExceededByAnyFamily) {
  const tests::PlainProducts plain;
  for (const std::string& name : tests::golden_models()) {
    const auto model = open(name);
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      for (const int64_t chunk : {1, 2048}) {
        RunOptions options;
        options.dtype = dtype;
        options.chunk_tokens = chunk;
        options.logits = true;
        const Taken taken = taken_by(*model, {input(*model, "a", 1, 7), input(*model, "b", 9, 11)}, options);
        EXPECT_LE(taken.peak, taken.planned) << name << " " << toString(dtype) << " chunk " << chunk;
      }
    }
  }
}

/// Where a chunk is more than the weights, all of it is what the layer's rehearsal found.
TEST(MemoryPlan, IsWithinATenthOfWhatIsTaken) {
  const tests::PlainProducts plain;
  for (const std::string& name : tests::golden_models()) {
    const auto model = open(name);
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (const int64_t T : {48, 16}) {
        RunOptions options;
        options.dtype = dtype;
        const models::Config& c = model->config();
        if (c.positions == models::Positions::learned && !reads_images(c) && T > c.max_positions) continue;
        const Taken taken =
            taken_by(*model, {input(*model, "a", 2, 5), input(*model, "b", 6144 / T, T)}, options);
        EXPECT_LE(taken.peak, taken.planned) << name << " " << toString(dtype) << " " << T;
        EXPECT_LT(taken.ratio(), 1.1) << name << " " << toString(dtype) << " " << T;
      }
    }
  }
}

/// On the way to a GPU each tensor, or each expert's part of one, is in the host's memory once.
TEST(MemoryPlan, HasRoomForEachTensorOnItsWayToAGpu) {
  for (const char* name : {"llama_untied", "mixtral_experts", "qwen2_moe_mixed", "gpt_oss_sinks"}) {
    const auto model = open(name);
    RunOptions options;
    options.device = at::kCUDA;
    options.memory_limit = kEnough;
    const MemoryPlan plan = plan_memory(*model, {input(*model, "a", 1, 7)}, {}, options, 0);
    for (const models::StoredWeight& weight : model->weights().all()) {
      if (!weight.name.starts_with("layer.")) continue;
      const int64_t bytes =
          4 * c10::multiply_integers(weight.shape) / (weight.of_experts ? weight.shape.front() : 1);
      EXPECT_GE(plan.reading, static_cast<uint64_t>(bytes)) << name << " " << weight.name;
    }
  }
}

class Limited : public testing::Test {
 protected:
  const std::unique_ptr<models::Model> model_ = open("llama_untied");
  const std::vector<Input> inputs_ = {{"a", ids(*model_, 1, 7)}, {"b", ids(*model_, 400, 8)}};
  MemoryPlan plan(uint64_t limit, const std::vector<Observer*>& observers = {}) const {
    RunOptions options;
    options.memory_limit = limit;
    options.logits = true;
    return plan_memory(*model_, inputs_, observers, options, 1000);
  }
};

TEST_F(Limited, SpillsBeforeItComputesLessAtATime) {
  const MemoryPlan free = plan(kEnough);
  EXPECT_FALSE(free.spills);
  EXPECT_EQ(free.chunk_tokens, RunOptions().chunk_tokens);
  EXPECT_EQ(free.hidden, 3207u * 4 * static_cast<uint64_t>(model_->config().width));
  EXPECT_EQ(free.process, 1000u);
  EXPECT_FALSE(plan(free.total).spills);

  const MemoryPlan spilled = plan(free.total - 1);
  EXPECT_TRUE(spilled.spills);
  EXPECT_EQ(spilled.chunk_tokens, RunOptions().chunk_tokens);
  EXPECT_EQ(spilled.hidden, 0u);
  EXPECT_EQ(spilled.hidden_on_disk, free.hidden);
  EXPECT_LT(spilled.total, free.total);

  const MemoryPlan small = plan(spilled.total - 1);
  EXPECT_TRUE(small.spills);
  EXPECT_LT(small.chunk_tokens, spilled.chunk_tokens);
  EXPECT_LT(small.work, spilled.work);
}

TEST_F(Limited, SaysWhatIsNeededWhereNothingFits) {
  const std::string message = tests::error_of([&] { plan(1'000'000); });
  EXPECT_THAT(message, HasSubstr("1 MB of memory are too few"));
  EXPECT_THAT(message, HasSubstr(" in float32: "));
  EXPECT_THAT(message, HasSubstr("raise the limit, or take a 16-bit dtype or fewer tokens"));
  // What it names is enough.
  const size_t at = message.find(": ") + 2;
  const uint64_t named = std::stoull(message.substr(at)) * 1'000'000;
  EXPECT_NO_THROW(plan(named));
  EXPECT_ANY_THROW(plan(named - 2'000'000));
}

TEST_F(Limited, CountsLayersExpertsAndWhatObserversKeep) {
  uint64_t layer = 0;
  for (const models::StoredWeight& weight : model_->weights().all()) {
    if (weight.name.starts_with("layer.0."))
      layer += 4 * static_cast<uint64_t>(c10::multiply_integers(weight.shape));
  }
  EXPECT_GE(plan(kEnough).weights, layer);
  EXPECT_LT(plan(kEnough).weights, 2 * layer);

  class Keeper : public Looker {
   public:
    ObserverMemory memory(const std::vector<Input>&, at::ScalarType, int64_t) const override {
      return {.held = 5'000'000, .spillable = 70'000'000, .on_disk = 70'000'000, .at_end = 0};
    }
  } keeper;
  const MemoryPlan kept = plan(kEnough, {&keeper});
  EXPECT_EQ(kept.observers, 75'000'000u);
  const MemoryPlan spilled = plan(kept.total - 1, {&keeper});
  EXPECT_EQ(spilled.observers, 5'000'000u);
  EXPECT_LE(spilled.total + 70'000'000, kept.total);

  // One token cannot choose more than its k experts.
  const auto experts = open("mixtral_experts");
  RunOptions options;
  options.memory_limit = kEnough;
  const auto weights = [&](int64_t T) {
    return plan_memory(*experts, {{"a", ids(*experts, 1, T)}}, {}, options, 0).weights;
  };
  EXPECT_LT(weights(1), weights(2));
  EXPECT_EQ(weights(20), weights(21));
}

/// Hidden states of a run that are enough to tell from what a process takes otherwise.
constexpr int64_t kSpilled = int64_t{12} << 20;

/// A limit at which the model's hidden states just do not fit, with room for what the process may grow by.
uint64_t tight(const models::Model& model, const std::vector<Input>& inputs, RunOptions options) {
  options.memory_limit = kEnough;
  const MemoryPlan free = plan_memory(model, inputs, {}, options, 0);
  EXPECT_GE(free.hidden, static_cast<uint64_t>(kSpilled));
  return resident_bytes() + free.total - free.hidden / 4;
}

TEST(RunOfLimitedMemory, GivesTheSameNumbersFromDisk) {
  const tests::PlainProducts plain;
  for (const char* name :
       {"llama_untied", "gemma3_caps", "gpt2_tied", "opt_after", "mixtral_experts", "gpt_oss_sinks",
        "falcon_alibi", "qwen2_moe_mixed", "vit_rectangle", "dinov2_with_registers_shrunk"}) {
    const auto model = open(name);
    const bool of_images = reads_images(model->config());
    const int64_t T = of_images ? input(*model, "one", 1, 0).ids.size(1) : 8,
                  B = kSpilled / (T * 4 * model->config().width);
    const std::vector<Input> inputs = {input(*model, "a", 2, 7), input(*model, "b", B + 1, T)};
    RunOptions options;
    options.logits = true;
    const std::vector<Site> sites =
        parse_sites(of_images ? "layer.1.resid_out,layer.-1.resid_out,final_norm_out"
                              : "layer.1.resid_out,layer.-1.resid_out,logits",
                    model->config());
    std::array<Recorder, 2> free = {Recorder(sites, 0), Recorder(sites, 1)},
                            limited = {Recorder(sites, 0), Recorder(sites, 1)};
    EXPECT_EQ(forward(*model, inputs, {&free[0], &free[1]}, options).spilled_bytes, 0u);
    options.memory_limit = tight(*model, inputs, options);
    const RunTimes times = forward(*model, inputs, {&limited[0], &limited[1]}, options);
    options.memory_limit = tight(*model, inputs, options);
    const MemoryPlan spilled = plan_memory(*model, inputs, {}, options, resident_bytes());
    EXPECT_TRUE(spilled.spills);
    {
      const tests::CountingAllocator counting;
      forward(*model, inputs, {}, options);
      EXPECT_LE(tests::CountingAllocator::peak(), spilled.total - spilled.process - spilled.reserve) << name;
    }
    const auto hidden =
        static_cast<uint64_t>((inputs[0].ids.numel() + inputs[1].ids.numel()) * 4 * model->config().width);
    // Once as embeddings, and once after each layer.
    EXPECT_EQ(times.spilled_bytes, hidden * static_cast<uint64_t>(1 + model->config().layers)) << name;
    for (size_t b = 0; b < inputs.size(); ++b) {
      for (const Site& site : sites) {
        EXPECT_TRUE(at::equal(free[b].get(site_name(site)), limited[b].get(site_name(site))))
            << name << " " << site_name(site);
      }
    }
  }
}

TEST(RunOfLimitedMemory, LeavesNoFile) {
  const auto model = open("llama_untied");
  const std::vector<Input> inputs = {{"a", ids(*model, kSpilled / (32 * model->config().width) + 1, 8)}};
  class Interrupter : public Looker {
   public:
    explicit Interrupter(const std::filesystem::path& directory) : directory_(directory) {}
    void on_layer_end(int64_t) override {
      EXPECT_TRUE(std::filesystem::is_empty(directory_));
      throw outliers::Error("stop");
    }
    const std::filesystem::path& directory_;
  };
  const tests::ScratchDirectory scratch;
  Interrupter interrupter(scratch.path());
  RunOptions options;
  options.spill_directory = scratch.path();
  options.memory_limit = tight(*model, inputs, options);
  EXPECT_EQ(tests::error_of([&] { forward(*model, inputs, {&interrupter}, options); }), "stop");
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  options.spill_directory = scratch / "missing";
  options.memory_limit = tight(*model, inputs, options);
  EXPECT_THAT(
      tests::error_of([&] { forward(*model, inputs, {}, options); }),
      HasSubstr(
          "missing: No such file or directory; name a directory for what does not fit the memory by TMPDIR"));
}

/// Bytes of the tensors of one model by our names.
uint64_t stored_bytes(const models::Model& model,
                      const std::function<bool(const models::StoredWeight&)>& wanted) {
  uint64_t bytes = 0;
  for (const models::StoredWeight& weight : model.weights().all()) {
    if (!wanted(weight)) continue;
    for (const std::string& stored : weight.stored) bytes += model.checkpoint().find(stored)->bytes;
  }
  return bytes;
}

uint64_t embedding_rows(const models::Model& model, const std::vector<Input>& inputs) {
  std::set<int64_t> rows;
  for (const Input& input : inputs) {
    for (int64_t i = 0; i < input.ids.numel(); ++i) rows.insert(input.ids.flatten()[i].item<int64_t>());
  }
  const io::TensorInfo& info =
      *model.checkpoint().find(model.weights().find("embedding.weight")->stored.front());
  return info.bytes / static_cast<uint64_t>(info.shape.front()) * rows.size();
}

TEST(BytesRead, AreThoseOfTheTensorsUsedOnce) {
  for (const std::string& name : tests::golden_models()) {
    const auto model = open(name);
    const bool of_images = reads_images(model->config());
    // Of experts the chosen ones are read, and of learnt positions the rows that sequences have.
    if (model->config().experts.count > 0 ||
        (model->config().positions == models::Positions::learned && !of_images)) {
      continue;
    }
    const std::vector<Input> inputs = {input(*model, "a", 1, 5), input(*model, "b", 3, 8)};
    RunOptions options;
    options.chunk_tokens = 8;
    if (of_images) {
      const uint64_t all = stored_bytes(
          *model, [](const models::StoredWeight& w) { return !w.name.starts_with("final_norm."); });
      EXPECT_EQ(forward(*model, inputs, {}, options).weight_bytes_read, all) << name;
      continue;
    }
    const uint64_t layers =
        stored_bytes(*model, [](const models::StoredWeight& w) { return w.name.starts_with("layer."); });
    const uint64_t rows = embedding_rows(*model, inputs);
    const bool projects = model->has("embedding_projection.weight");
    const uint64_t projection = projects ? stored_bytes(*model,
                                                        [](const models::StoredWeight& w) {
                                                          return w.name == "embedding_projection.weight";
                                                        })
                                         : 0;
    EXPECT_EQ(forward(*model, inputs, {}, options).weight_bytes_read, layers + rows + projection) << name;

    // The output matrix once, though several groups of sequences need it.
    Looker looker;
    options.logits = true;
    const uint64_t others = stored_bytes(*model, [&](const models::StoredWeight& w) {
      return !w.name.starts_with("layer.") && w.name != "embedding.weight" && w.name != model->head().name;
    });
    const uint64_t head = model->checkpoint().find(model->head().stored.front())->bytes;
    EXPECT_EQ(forward(*model, inputs, {&looker}, options).weight_bytes_read, layers + rows + others + head)
        << name;
  }
}

TEST(BytesRead, AreNotOfExpertsThatNoTokenChose) {
  for (const char* name : {"mixtral_experts", "mixtral_early", "qwen3_moe_stacked", "qwen2_moe_shared",
                           "gpt_oss_sinks", "gpt_oss_mxfp4"}) {
    const auto model = open(name);
    const models::Config& c = model->config();
    const std::vector<Input> one = {{"a", at::full({1, 1}, 3, at::kLong)}};
    class Chosen : public Looker {
     public:
      void on_weight(int64_t layer, const LayerWeight& weight) override {
        if (weight.expert >= 0) experts.insert({layer, weight.expert});
      }
      std::set<std::pair<int64_t, int64_t>> experts;
    } chosen;
    const uint64_t read = forward(*model, one, {&chosen}, {}).weight_bytes_read;
    uint64_t dense = embedding_rows(*model, one), of_experts = 0, biases = 0;
    for (const models::StoredWeight& weight : model->weights().all()) {
      if (!weight.name.starts_with("layer.")) continue;
      uint64_t bytes = 0;
      for (const std::string& stored : weight.stored) bytes += model->checkpoint().find(stored)->bytes;
      if (!weight.of_experts) {
        dense += bytes;
      } else {
        (weight.name.ends_with(".bias") ? biases : of_experts) += bytes;
      }
    }
    const auto routed = static_cast<uint64_t>(std::count(c.routed.begin(), c.routed.end(), true));
    EXPECT_EQ(chosen.experts.size(), routed * static_cast<uint64_t>(c.experts.used)) << name;
    EXPECT_LT(c.experts.used, c.experts.count) << name;
    EXPECT_EQ(read, dense + (of_experts + biases) / static_cast<uint64_t>(c.experts.count) / routed *
                                chosen.experts.size())
        << name;
  }
}

}  // namespace
}  // namespace outliers::run
