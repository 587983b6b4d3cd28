// What interventions measure of a layer is what activations and attention have there, and no more is asked of
// the run.
#include "outliers/measures/residual_state.h"

#include <gmock/gmock.h>

#include "measures/measured.h"
#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::measures {
namespace {

constexpr int64_t kFirst = 1;

TEST(ResidualState, HasTheNumbersOfAReportFromItsFirstLayerOn) {
  for (const char* name : {"llama_untied", "qwen2_moe_mixed", "gpt_oss_sinks", "vit_rectangle"}) {
    const auto model =
        models::Model::open(tests::golden(std::string("models/") + name + "/model.safetensors"));
    run::Input input = tests::some_input(*model);
    input.name = "corpus";
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      run::RunOptions options;
      options.dtype = dtype;
      const tests::Measured wanted = tests::measure(*model, {input}, {"activations", "attention"}, options);
      const tests::Numbers numbers;
      MeasureSet set({model->config(), numbers, tests::measured_inputs({input})},
                     [](const Context& context, size_t i) { return residual_state(context, i, kFirst); });
      run::forward(*model, {input}, {&set}, options);
      const std::vector<results::Layer> layers = set.take_layers();
      EXPECT_TRUE(set.take_arrays().empty());
      ASSERT_EQ(static_cast<int64_t>(layers.size()), model->config().layers);
      for (size_t l = 0; l < layers.size(); ++l) {
        const results::LayerInput& here = *layers[l].inputs.find("corpus");
        ASSERT_EQ(here.resid_out.has_value(), static_cast<int64_t>(l) >= kFirst) << name;
        if (!here.resid_out) continue;
        const results::LayerInput& there = wanted.part(l, "corpus");
        EXPECT_EQ(here.resid_out->max, there.resid_out->max) << name << " " << l;
        EXPECT_EQ(here.resid_out->median, there.resid_out->median) << name << " " << l;
        ASSERT_EQ(here.attention->heads.size(), there.attention->heads.size());
        for (size_t h = 0; h < here.attention->heads.size(); ++h)
          EXPECT_EQ(here.attention->heads[h].sink_rate, there.attention->heads[h].sink_rate) << name << h;
      }
    }
  }
}

TEST(ResidualState, AsksForTheResidualStreamAlone) {
  const auto model = models::Model::open(tests::golden("models/qwen2_moe_mixed/model.safetensors"));
  const models::Config& c = model->config();
  const tests::Numbers numbers;
  const MeasureSet set({c, numbers, tests::measured_inputs({{"corpus", at::zeros({1, 4}, at::kLong)}})},
                       [](const Context& context, size_t i) { return residual_state(context, i, kFirst); });
  for (int64_t layer = -1; layer < c.layers; ++layer) {
    for (const run::PointInfo& point : run::point_table())
      EXPECT_EQ(set.wants({layer, point.point}, 0), layer >= kFirst && point.name == std::string("resid_out"))
          << point.name << layer;
    EXPECT_EQ(set.wants_attention_sums(layer, 0), layer >= kFirst);
    EXPECT_FALSE(set.wants_weights(layer));
  }
}

}  // namespace
}  // namespace outliers::measures
