// What an edited run and its branches are said to need against the tensors that are alive in them, and that
// they give the same numbers from disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/memory.h"
#include "outliers/run/memory_plan.h"

#include "run/counting_allocator.h"
#include "run/golden_inputs.h"
#include "run/plain_products.h"
#include "run/recorder.h"
#include "support.h"

namespace outliers::run {
namespace {

constexpr uint64_t kEnough = uint64_t{1} << 60;

std::unique_ptr<models::Model> open(const std::string& name) {
  return models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
}

Input some(const models::Model& model, int64_t B, int64_t T) {
  const models::Config& c = model.config();
  at::manual_seed(5);
  if (!reads_images(c)) return {"a", at::randint(c.vocabulary, {B, T}, at::kLong)};
  return image_input(c, "a", at::randn({B, c.vision.channels, c.vision.image_height, c.vision.image_width}));
}

Input branch(const std::string& text, const models::Config& config) {
  Input branch{text};
  branch.parent = 0;
  branch.edits = parse_edits(text, config);
  return branch;
}

/// Edits of every kind of work that edits make.
std::vector<std::string> edits_of(const models::Config& c) {
  std::vector<std::string> texts = {"layer.1.resid_out[massive]=mean",
                                    "layer.0.resid_out=median",
                                    "layer.1.attn_logits[key=0]=scale(2)",
                                    "layer.1.attn_probs[top=4]=zero",
                                    "layer.1.query=noise(1)",
                                    "layer.0.attn_added[top=9]=clamp(0)",
                                    "final_norm_out[channel=2]=mean",
                                    "weight.0.q[top=3]=zero;weight.0.o=median;weight.0.down=scale(2)"};
  if (has_head(c)) texts.emplace_back("logits[top=3]=zero");
  if (is_routed(c, 1)) {
    texts.insert(texts.end(),
                 {"layer.1.experts.down_in[channel=1]=scale(3)", "layer.1.experts.down_out[top=2]=zero",
                  "layer.1.router_logits[expert=0]=median", "weight.1.up=scale(2)"});
  } else {
    texts.insert(texts.end(), {"layer.1.down_in[channel=3]=mean", "layer.1.act_out=scale(2)"});
  }
  return texts;
}

/// Whether nothing is estimated: no statistics of whole points, no weights, no points of the model's own.
bool is_rehearsed(const std::vector<Input>& inputs) {
  for (const Input& input : inputs) {
    for (const Edit& edit : input.edits) {
      if (edit.needs_statistics() || edit.of_weights() || edit.layer() < 0) return false;
    }
  }
  return true;
}

class Looker : public Observer {
 public:
  bool wants(const Site& site, size_t) const override {
    return site.layer < 0 || site.point == Point::resid_out;
  }
};

TEST(EditedMemory, IsPlanned) {
  const tests::PlainProducts plain;
  double loosest = 0, loosest_rehearsed = 0;
  std::string where, where_rehearsed;
  for (const char* name : {"llama_untied", "gemma3_caps", "falcon_alibi", "opt_after", "mixtral_experts",
                           "qwen2_moe_shared", "gpt_oss_sinks", "dinov2_head"}) {
    const auto model = open(name);
    const std::vector<std::string> texts = edits_of(model->config());
    for (const int64_t chunk : {1, 2048}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        const auto check = [&](const std::vector<Input>& inputs, const std::string& what) {
          Looker looker;
          RunOptions options;
          options.dtype = dtype;
          options.chunk_tokens = chunk;
          options.logits = true;
          options.memory_limit = kEnough;
          const MemoryPlan plan = plan_memory(*model, inputs, {&looker}, options, 0);
          options.memory_limit = 0;
          uint64_t peak = 0;
          {
            const tests::CountingAllocator counting;
            forward(*model, inputs, {&looker}, options);
            peak = tests::CountingAllocator::peak();
          }
          const uint64_t planned = plan.total - plan.reserve;
          EXPECT_LE(peak, planned) << name << " " << toString(dtype) << " chunk " << chunk << ": " << what;
          const double ratio = static_cast<double>(planned) / static_cast<double>(peak);
          if (ratio > loosest) loosest = ratio, where = fmt::format("{} {} {}", name, what, chunk);
          if (chunk > 1 && is_rehearsed(inputs) && ratio > loosest_rehearsed)
            loosest_rehearsed = ratio, where_rehearsed = fmt::format("{} {}", name, what);
        };
        std::vector<Input> all = {some(*model, 9, 11)};
        for (const std::string& text : texts) {
          check({some(*model, 9, 11), branch(text, model->config())}, text);
          Input alone = some(*model, 9, 11);
          alone.edits = parse_edits(text, model->config());
          check({alone}, text + " alone");
          all.push_back(branch(text, model->config()));
        }
        check(all, "all");
      }
    }
  }
  EXPECT_LT(loosest_rehearsed, 1.4) << where_rehearsed;
  EXPECT_LT(loosest, 5) << where;
}

TEST(EditedMemory, IsOnDiskWhereItIsShort) {
  const tests::PlainProducts plain;
  for (const char* name : {"llama_untied", "qwen2_moe_shared"}) {
    const auto model = open(name);
    const int64_t B = (int64_t{4} << 20) / (8 * 4 * model->config().width);
    std::vector<Input> inputs = {some(*model, B, 8)};
    for (const char* text :
         {"layer.0.resid_out[massive]=mean", "layer.1.resid_out[top=100]=zero", "layer.1.attn_out=noise(0.1)",
          "weight.1.o=scale(2)", "final_norm_out[channel=1]=mean"}) {
      inputs.push_back(branch(text, model->config()));
    }
    RunOptions options;
    options.logits = true;
    const std::vector<Site> sites = parse_sites("layer.1.resid_out,final_norm_out", model->config());
    const auto recorded = [&](bool spilled) {
      std::vector<Recorder> recorders;
      for (size_t i = 0; i < inputs.size(); ++i) recorders.emplace_back(sites, i);
      std::vector<Observer*> observers;
      for (Recorder& recorder : recorders) observers.push_back(&recorder);
      const RunTimes times = forward(*model, inputs, observers, options);
      EXPECT_EQ(times.spilled_bytes > 0, spilled);
      return recorders;
    };
    const std::vector<Recorder> free = recorded(false);
    options.memory_limit = kEnough;
    const MemoryPlan plan = plan_memory(*model, inputs, {}, options, 0);
    EXPECT_GE(plan.hidden, uint64_t{20} << 20);
    options.memory_limit = resident_bytes() + plan.total - plan.hidden / 2;
    const std::vector<Recorder> limited = recorded(true);
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (const Site& site : sites)
        EXPECT_TRUE(at::equal(free[i].get(site_name(site)), limited[i].get(site_name(site))))
            << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace outliers::run
