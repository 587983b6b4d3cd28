// Norms of values against what transformers computed in float64: values and probabilities of every tiny model
// (tests/oracle/models_tiny.py, models_vision.py).
#include <gtest/gtest.h>

#include "outliers/io/npz.h"

#include "measures/measured.h"
#include "measures/planted.h"
#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::measures {
namespace {

void expect_near(const std::vector<double>& got, const at::Tensor& wanted, const std::string& what) {
  ASSERT_EQ(static_cast<int64_t>(got.size()), wanted.numel()) << what;
  for (int64_t h = 0; h < wanted.numel(); ++h) {
    const double value = wanted[h].item<double>();
    EXPECT_NEAR(got[static_cast<size_t>(h)], value, 2e-4 * value) << what << " head " << h;
  }
}

TEST(ValueDrain, AgreesWithTransformers) {
  for (const std::string& name : tests::golden_models()) {
    const std::filesystem::path folder = tests::golden("models/" + name);
    const io::NpzReader reference(folder / "reference.npz");
    const auto model = models::Model::open(folder / "model.safetensors");
    run::Input input = tests::golden_input(*model, reference);
    input.name = "corpus";
    const tests::Measured found = tests::measure(*model, {input}, {"value_drain"});
    for (int64_t layer = 0; layer < model->config().layers; ++layer) {
      const std::string at_layer = fmt::format("layer.{}.", layer);
      const at::Tensor value = reference.read(at_layer + "value").to(at::kDouble);       // [N,Hk,T,d]
      const at::Tensor probs = reference.read(at_layer + "attn_probs").to(at::kDouble);  // [N,H,T,T]
      const at::Tensor norms = value.square().sum(3).sqrt();
      const int64_t N = probs.size(0), H = probs.size(1), group = H / value.size(1);
      at::Tensor top = at::zeros({H}, at::kDouble), first = at::zeros({H}, at::kDouble),
                 smallest = at::full({H}, 1e30, at::kDouble), largest = at::zeros({H}, at::kDouble);
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t h = 0; h < H; ++h) {
          const at::Tensor of_keys = norms[n][h / group], ratios = of_keys / of_keys.mean();
          top[h] += ratios[probs[n][h].sum(0).argmax().item<int64_t>()] / N;
          first[h] += ratios[0] / N;
          smallest[h] = at::minimum(smallest[h], ratios.min());
          largest[h] = at::maximum(largest[h], ratios.max());
        }
      }
      const results::Values& values = found.part(static_cast<size_t>(layer), "corpus").values;
      expect_near(*values.find("drain_top_key"), top, name + " top key");
      expect_near(*values.find("drain_first_token"), first, name + " first token");
      expect_near(*values.find("drain_smallest"), smallest, name + " smallest");
      expect_near(*values.find("drain_largest"), largest, name + " largest");
    }
  }
}

TEST(ValueDrain, IsThatOfTheKeyThatEachHeadLooksAt) {
  tests::Planted planted;
  // Values of layer 1 are 1 in channel 0's direction, but for the outlier token, whose norm leaves nothing of
  // it; head 1's sink has three times that.
  at::Tensor value = planted.weight(1, "self_attn.v_proj");
  value[0][0] = 1;
  value[tests::Planted::d][0] = 1;
  value[tests::Planted::d][5] = 2;
  const at::Tensor ids = tests::Planted::sequence(5).unsqueeze(0);
  const tests::Measured found = tests::measure(*planted.open(), {{"corpus", ids}}, {"value_drain"});
  const results::Values& values = found.part(1, "corpus").values;
  const double T = tests::Planted::kTokens;
  const std::vector<double>&top = *values.find("drain_top_key"), &first = *values.find("drain_first_token");
  EXPECT_LT(top[0], 1e-3);
  EXPECT_LT(first[1], 1e-3);
  EXPECT_NEAR(top[1], 3 * T / (T - 2 + 3), 1e-3);
  EXPECT_NEAR((*values.find("drain_largest"))[0], T / (T - 1), 1e-3);
  EXPECT_EQ((*values.find("drain_largest"))[1], top[1]);
  EXPECT_EQ((*values.find("drain_smallest"))[0], top[0]);
}

}  // namespace
}  // namespace outliers::measures
