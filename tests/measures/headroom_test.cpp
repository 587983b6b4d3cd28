// The largest value of every point against what transformers computed in float64, for every tiny model
// (tests/oracle/models_tiny.py, models_vision.py).
#include <cmath>

#include <gmock/gmock.h>

#include "outliers/core/formats.h"
#include "outliers/io/npz.h"

#include "measures/measured.h"
#include "measures/planted.h"
#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::measures {
namespace {

/// That `amax` is the largest of x, and stands where it says.
void expect_largest(const results::Amax& amax, const at::Tensor& x, const at::Tensor& experts,
                    const std::string& what) {
  const at::Tensor finite = x.to(at::kDouble).nan_to_num(0, 0, 0);
  const double wanted = finite.abs().max().item<double>(), size = std::abs(amax.value);
  EXPECT_NEAR(size, wanted, 2e-4 * wanted + 1e-6) << what;
  at::Tensor here = finite[amax.sequence];
  if (amax.head) here = here[*amax.head];
  if (amax.token) here = here[*amax.token];
  if (experts.defined() && amax.expert && !amax.expert->is_shared()) {
    ASSERT_TRUE(amax.token) << what;
    const at::Tensor route = (experts[amax.sequence][*amax.token] == amax.expert->number).nonzero();
    ASSERT_EQ(route.numel(), 1) << what;
    here = here[route.item<int64_t>()];
  }
  if (amax.channel) here = here[*amax.channel];
  const bool whole_head = !amax.token && here.dim() == 2;  // of attn_logits no more is told
  if (!whole_head) {
    ASSERT_EQ(here.numel(), 1) << what;
    EXPECT_NEAR(here.item<double>(), amax.value, 2e-4 * wanted + 1e-6) << what;
  } else {
    EXPECT_NEAR((here - amax.value).abs().min().item<double>(), 0, 2e-4 * wanted + 1e-6) << what;
  }
  for (const NumberFormat& format : kNumberFormats) {
    const double* share = amax.of_largest.find(format.name);
    ASSERT_EQ(share != nullptr, format.has_range) << what;
    if (share == nullptr) continue;
    EXPECT_EQ(*share, size / format.largest) << what << " " << format.name;
  }
}

TEST(Headroom, AgreesWithTransformersAtEveryPoint) {
  for (const std::string& name : tests::golden_models()) {
    const std::filesystem::path folder = tests::golden("models/" + name);
    const io::NpzReader reference(folder / "reference.npz");
    const auto model = models::Model::open(folder / "model.safetensors");
    const models::Config& c = model->config();
    run::RunOptions options;
    options.logits = true;
    const tests::Measured found =
        tests::measure(*model, {tests::golden_input(*model, reference)}, {"headroom"}, options);
    const auto& known = reference.names();
    const auto read = [&](const std::string& site) {
      const bool there = std::find(known.begin(), known.end(), site) != known.end();
      return there ? reference.read(site) : at::Tensor();
    };
    for (const run::PointInfo& info : run::point_table()) {
      for (int64_t layer = info.per_layer ? 0 : -1; layer < (info.per_layer ? c.layers : 0); ++layer) {
        const run::Site site{layer, info.point};
        const std::string what = name + " " + run::site_name(site);
        const results::Named<results::Amax>& all =
            layer < 0 ? found.results.inputs[0].amax : found.part(static_cast<size_t>(layer), "prompt").amax;
        const results::Amax* amax = all.find(info.name);
        const bool looked_at = info.point != run::Point::attn_probs &&
                               info.point != run::Point::experts_index &&
                               (info.point != run::Point::resid_in || layer == 0);
        ASSERT_EQ(amax != nullptr, looked_at && run::has_point(c, site)) << what;
        const at::Tensor x = read(run::site_name(site));
        if (amax == nullptr || !x.defined()) continue;
        expect_largest(*amax, x, read(fmt::format("layer.{}.experts.index", layer)), what);
      }
    }
  }
}

TEST(Headroom, NamesTheExpertOfTheLargestValue) {
  const auto model = models::Model::open(tests::golden("models/qwen2_moe_mixed/model.safetensors"));
  const tests::Measured found = tests::measure(*model, {tests::some_input(*model)}, {"headroom"});
  const results::Named<results::Amax>& amax = found.part(1, "a").amax;
  EXPECT_TRUE(amax.find("experts.up_out")->expert.has_value());
  EXPECT_TRUE(amax.find("shared.up_out")->expert->is_shared());
  EXPECT_FALSE(amax.find("resid_out")->expert.has_value());
}

TEST(Headroom, IsOfPromptsAloneAtLogits) {
  const auto model = models::Model::open(tests::golden("models/llama_untied/model.safetensors"));
  const at::Tensor ids = tests::some_input(*model).ids;
  run::RunOptions options;
  options.logits = true;
  const tests::Measured found =
      tests::measure(*model, {{"prompt", ids}, {"corpus", ids}}, {"headroom"}, options);
  EXPECT_TRUE(found.results.inputs[0].amax.contains("logits"));
  EXPECT_FALSE(found.results.inputs[1].amax.contains("logits"));
  EXPECT_TRUE(found.results.inputs[1].amax.contains("final_norm_out"));
}

TEST(Headroom, FindsWhatWasPlanted) {
  const tests::Planted planted;
  const at::Tensor ids = tests::Planted::sequence(5).unsqueeze(0);
  const tests::Measured found = tests::measure(*planted.open(), {{"corpus", ids}}, {"headroom"});
  const results::Amax& born = *found.part(0, "corpus").amax.find("down_out");
  EXPECT_NEAR(born.value, tests::Planted::kBorn * tests::Planted::born(), 1);
  EXPECT_EQ(born.sequence, 0);
  EXPECT_EQ(born.token, 0);
  EXPECT_EQ(born.channel, 3);
  EXPECT_FALSE(born.head.has_value());
  const results::Amax& key = *found.part(1, "corpus").amax.find("key");
  EXPECT_EQ(key.head, 0);
  EXPECT_EQ(key.token, 0);
  EXPECT_EQ(key.channel, 1);
}

}  // namespace
}  // namespace outliers::measures
