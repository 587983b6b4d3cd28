// Edited runs against transformers, and branches against runs of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/io/npz.h"
#include "outliers/run/runner.h"

#include "run/golden_inputs.h"
#include "run/recorder.h"
#include "support.h"
#include "tolerances.h"

namespace outliers::run {
namespace {

using testing::HasSubstr;

std::unique_ptr<models::Model> open(const std::string& name) {
  return models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
}

Input branch(size_t parent, const std::string& text, const models::Config& config) {
  Input branch{text};
  branch.parent = parent;
  branch.edits = parse_edits(text, config);
  return branch;
}

/// All points, scores too.
std::map<std::string, at::Tensor> points_of(const models::Model& model, const std::vector<Input>& inputs,
                                            size_t input, RunOptions options = {}) {
  options.logits = true;
  Recorder recorder(input);
  forward(model, inputs, {&recorder}, options);
  std::map<std::string, at::Tensor> points;
  for (const auto& [name, parts] : recorder.parts()) points.emplace(name, at::cat(parts));
  return points;
}

std::vector<std::string> lines(const at::Tensor& bytes) {
  std::vector<std::string> lines(1);
  for (const char c :
       std::string(static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel()))) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

class EditedModel : public testing::TestWithParam<std::string> {
 protected:
  const std::unique_ptr<models::Model> model_ = open(GetParam());
  const io::NpzReader golden_{tests::golden("models/edits.npz")};
  at::Tensor golden(const std::string& name) const { return golden_.read(GetParam() + "." + name); }
  std::vector<std::string> edits() const { return lines(golden("edits")); }
  Input input() const {
    Input input = reads_images(model_->config())
                      ? image_input(model_->config(), "prompt", golden("pixel_values"))
                      : Input{"prompt", golden("ids")};
    input.classes = golden("classes");
    return input;
  }
  const char* last() const { return reads_images(model_->config()) ? "final_norm_out" : "logits"; }
};

TEST_P(EditedModel, AgreesWithTransformers) {
  const std::vector<std::string> texts = edits();
  EXPECT_GT(texts.size(), 15u);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    RunOptions options;
    options.dtype = dtype;
    options.logits = true;
    // All edits are branches of one run.
    std::vector<Input> inputs = {input()};
    for (const std::string& text : texts) inputs.push_back(branch(0, text, model_->config()));
    std::vector<Recorder> recorders;
    for (size_t i = 0; i < texts.size(); ++i)
      recorders.emplace_back(parse_sites(last(), model_->config()), i + 1);
    std::vector<Observer*> observers;
    for (Recorder& recorder : recorders) observers.push_back(&recorder);
    forward(*model_, inputs, observers, options);
    for (size_t i = 0; i < texts.size(); ++i) {
      const tests::Difference d = tests::difference(recorders[i].get(last()), golden(std::to_string(i)));
      EXPECT_LE(d.whole, dtype == at::kDouble ? 1e-6 : 1e-4) << texts[i] << " " << toString(dtype);
    }
  }
}

TEST_P(EditedModel, AloneIsItsBranch) {
  for (const std::string& text : edits()) {
    Input alone = input();
    alone.edits = parse_edits(text, model_->config());
    const auto branched = points_of(*model_, {input(), branch(0, text, model_->config())}, 1),
               edited = points_of(*model_, {alone}, 0);
    ASSERT_EQ(branched.size(), edited.size());
    // Criteria and means of a later edit are of the parent in one case, of what the earlier edits left in the
    // other.
    const bool several = text.find(';') != std::string::npos || text.find("0..1") != std::string::npos;
    for (const auto& [name, x] : edited) {
      if (several && parse_edits(text, model_->config()).back().needs_statistics()) continue;
      EXPECT_TRUE(at::equal(x, branched.at(name))) << text << " " << name;
    }
  }
}

TEST_P(EditedModel, DoesNotDependOnChunks) {
  for (const std::string& text : edits()) {
    Input alone = input();
    alone.edits = parse_edits(text, model_->config());
    RunOptions options;
    options.dtype = at::kDouble;
    const auto whole = points_of(*model_, {alone}, 0, options);
    options.chunk_tokens = 1;
    const auto parts = points_of(*model_, {input(), branch(0, text, model_->config())}, 1, options);
    for (const auto& [name, x] : whole)
      EXPECT_TRUE(at::allclose(x, parts.at(name), 1e-10, 1e-12)) << text << " " << name;
  }
}

TEST_P(EditedModel, WithoutEffectIsItsParentToTheLastBit) {
  const models::Config& c = model_->config();
  std::vector<std::string> texts;
  for (const Site& site : parse_sites("layer.1.*,*", c)) {
    if (site.point == Point::experts_index) continue;
    texts.push_back(site_name(site) + "=scale(1)");
    const std::vector<Axis> axes = axes_of(site.point);
    if (axes.back() == Axis::channel) texts.push_back(site_name(site) + "[massive]=zero");
    texts.push_back(site_name(site) + "=noise(0)");
  }
  for (const char* module : {"q", "k", "v", "o", "up", "down"}) {
    texts.push_back(fmt::format("weight.1.{}=scale(1)", module));
    texts.push_back(fmt::format("weight.0.{}=clamp(1e30)", module));
  }
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    RunOptions options;
    options.dtype = dtype;
    for (const std::string& text : texts) {
      const std::vector<Input> inputs = {input(), branch(0, text, c)};
      const auto parent = points_of(*model_, inputs, 0, options),
                 same = points_of(*model_, inputs, 1, options);
      ASSERT_EQ(parent.size(), same.size());
      for (const auto& [name, x] : parent) {
        ASSERT_TRUE(at::equal(x.nan_to_num(), same.at(name).nan_to_num()))
            << text << " " << name << " " << toString(dtype);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EditedModel,
                         testing::Values("llama_untied", "gemma2_caps", "gemma3_plain", "olmo2_norms",
                                         "gpt_neox_parallel", "falcon_grouped", "opt_before", "opt_after",
                                         "mpt_alibi", "qwen2_moe_shared", "gpt_oss_sinks", "dinov2_head"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace outliers::run
