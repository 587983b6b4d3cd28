// Alignment and writes of a model whose outliers are known because they were put there.
#include "measures/planted.h"

#include <gmock/gmock.h>

#include "measures/measured.h"

namespace outliers::measures {
namespace {

using tests::Planted;

std::vector<run::Input> inputs() {
  const at::Tensor with_sink = Planted::sequence(5), without = Planted::sequence(0);
  return {{"prompt", with_sink.unsqueeze(0)},
          {"corpus", at::stack({with_sink, without, Planted::sequence(9)})}};
}

TEST(Planted, AttentionIsAlignedWhereItLooksAtTheOutlierToken) {
  const tests::Measured found = tests::measure(*Planted().open(), inputs(), {"alignment"});
  // Keys of layer 1: the first token in all three sequences, and the sink in two of them.
  std::vector<std::pair<int64_t, int64_t>> keys;
  for (const results::Key& key : found.part(1, "corpus").attention->outlier_keys)
    keys.emplace_back(key.sequence, key.key);
  EXPECT_THAT(keys, testing::ElementsAre(std::pair(0, 0), std::pair(0, 5), std::pair(1, 0), std::pair(2, 0),
                                         std::pair(2, 9)));
  EXPECT_THAT(found.results.summary.alignment.activation_attention, testing::Optional(3.0 / 5));
  // Layer 0's largest column is that of the neuron that is large; layer 1's is another.
  EXPECT_THAT(found.results.summary.alignment.weight_activation, testing::Optional(0.5));
}

TEST(Planted, LayersWithOutliersAreExplained) {
  // Beside the planted neurons layer 1 has one that reaches less and writes more.
  constexpr double kPart = 0.5, kWrites = 1e5;
  Planted planted;
  for (const char* name : {"mlp.gate_proj", "mlp.up_proj"}) planted.weight(1, name)[4][3] = kPart;
  planted.weight(1, "mlp.down_proj")[9][4] = -kWrites;
  planted.weight(1, "mlp.down_proj")[10][4] = kWrites / 2;
  const tests::Measured found = tests::measure(*planted.open(), inputs(), {"alignment"});
  ASSERT_TRUE(found.results.summary.alignment.outlier_layers.has_value());
  const results::OutlierLayers& of = *found.results.summary.alignment.outlier_layers;
  EXPECT_THAT(of.share, testing::Optional(0.5));
  ASSERT_EQ(of.layers.size(), 2u);

  // One value in a window of kTokens x F is not zero.
  const results::OutlierLayer &first = of.layers[0], &second = of.layers[1];
  EXPECT_EQ(first.layer, 0);
  EXPECT_EQ(first.input, "corpus");
  EXPECT_NEAR(first.max_over_mean, Planted::kTokens * Planted::F, 1);
  EXPECT_TRUE(first.aligned);
  for (const results::AlignedNeuron* neuron :
       {&first.top_weight, &first.top_activation, &first.top_product}) {
    EXPECT_EQ(neuron->neuron, 1);
    EXPECT_EQ(neuron->row, 3);
    EXPECT_EQ(neuron->weight, Planted::kBorn);
    EXPECT_NEAR(neuron->ratio, Planted::D, 1e-4);
    EXPECT_NEAR(neuron->down_in.value(), Planted::born(), 1e-4 * Planted::born());
    EXPECT_NEAR(neuron->product.value(), Planted::born() * Planted::kBorn,
                1e-4 * Planted::born() * Planted::kBorn);
  }

  EXPECT_EQ(second.layer, 1);
  EXPECT_FALSE(second.aligned);
  EXPECT_EQ(second.top_weight.neuron, 3);
  EXPECT_EQ(second.top_weight.row, 7);
  EXPECT_NEAR(second.top_weight.ratio, Planted::D, 1e-4);
  EXPECT_EQ(second.top_weight.down_in, 0);
  EXPECT_EQ(second.top_activation.neuron, 2);
  EXPECT_EQ(second.top_activation.row, 6);
  EXPECT_NEAR(second.top_activation.down_in.value(), Planted::taken(), 1e-4 * Planted::taken());
  EXPECT_NEAR(second.top_activation.ratio, 6000.0 * Planted::D / 8000, 1e-3);
  EXPECT_EQ(second.top_product.neuron, 4);
  EXPECT_EQ(second.top_product.row, 9);
  EXPECT_EQ(second.top_product.weight, -kWrites);
  const double product = Planted::taken(kPart) * kWrites;
  EXPECT_GT(product, second.top_activation.product.value());
  EXPECT_NEAR(second.top_product.product.value(), product, 1e-4 * product);
}

TEST(Planted, NoLayerHasOutliersWhereNoValueIsFarAboveTheMean) {
  Planted planted;
  for (const int64_t layer : {0, 1}) {
    for (const char* name : {"mlp.gate_proj", "mlp.up_proj"})
      planted.weight(layer, name).select(1, 0).fill_(1);
  }
  const tests::Measured found = tests::measure(*planted.open(), inputs(), {"alignment"});
  ASSERT_TRUE(found.results.summary.alignment.outlier_layers.has_value());
  EXPECT_TRUE(found.results.summary.alignment.outlier_layers->layers.empty());
  EXPECT_EQ(found.results.summary.alignment.outlier_layers->share, std::nullopt);
}

TEST(Planted, AlignmentIsOfTheSequenceOfTheKey) {
  at::Tensor later = Planted::sequence(0);
  later[0] = Planted::kOthers;
  later[7] = Planted::kFirst;
  const std::vector<run::Input> both = {{"corpus", at::stack({Planted::sequence(0), later})}};
  const tests::Measured found = tests::measure(*Planted().open(), both, {"alignment"});
  std::vector<std::pair<int64_t, int64_t>> keys;
  for (const results::Key& key : found.part(1, "corpus").attention->outlier_keys)
    keys.emplace_back(key.sequence, key.key);
  EXPECT_THAT(keys, testing::ElementsAre(std::pair(0, 0), std::pair(1, 7)));
  EXPECT_THAT(found.results.summary.alignment.activation_attention, testing::Optional(1.0));
}

TEST(Planted, AlignmentIsOfAllCorpora) {
  std::vector<run::Input> more = inputs();
  more.push_back({"corpus2", Planted::sequence(0).unsqueeze(0)});
  const tests::Measured found = tests::measure(*Planted().open(), more, {"alignment"});
  EXPECT_THAT(found.results.summary.alignment.activation_attention, testing::Optional(4.0 / 6));
  EXPECT_THAT(found.results.summary.alignment.weight_activation, testing::Optional(0.5));
}

TEST(Planted, NoAlignmentWithoutOutlierTokens) {
  Planted planted;
  planted.weight(0, "mlp.down_proj").zero_();
  const tests::Measured found = tests::measure(*planted.open(), inputs(), {"alignment"});
  EXPECT_FALSE(found.part(1, "corpus").attention->outlier_keys.empty());
  EXPECT_THAT(found.results.summary.alignment.activation_attention, testing::Optional(0.0));
}

TEST(Planted, WritesFollowTheLargestValue) {
  const tests::Measured found = tests::measure(*Planted().open(), inputs(), {"writes"});
  const double born = Planted::kBorn * Planted::born();
  const results::Writes &first = *found.part(0, "prompt").writes, &second = *found.part(1, "prompt").writes;
  EXPECT_FALSE(first.followed.has_value());
  EXPECT_EQ(first.largest.token, 0);
  EXPECT_EQ(first.largest.channel, 3);
  EXPECT_EQ(first.largest.resid_in, 0);
  EXPECT_EQ(first.largest.attention, 0);
  EXPECT_NEAR(first.largest.mlp, born, 1e-5 * born);
  ASSERT_GE(first.largest.neurons.size(), 1u);
  EXPECT_EQ(first.largest.neurons[0].neuron, 1);
  EXPECT_EQ(first.largest.neurons[0].weight, Planted::kBorn);
  EXPECT_NEAR(first.largest.neurons[0].product, born, 1e-5 * born);

  // Layer 1 writes a larger value elsewhere; what was largest is followed to where a part of it is taken
  // away.
  const double taken = Planted::taken() * Planted::kTaken, written = Planted::taken() * Planted::kWritten;
  EXPECT_EQ(second.largest.token, 0);
  EXPECT_EQ(second.largest.channel, 6);
  EXPECT_NEAR(second.largest.resid_out, written, 1e-5 * written);
  ASSERT_TRUE(second.followed.has_value());
  EXPECT_EQ(second.followed->token, 0);
  EXPECT_EQ(second.followed->channel, 3);
  EXPECT_NEAR(second.followed->resid_in, born, 1e-5 * born);
  EXPECT_NEAR(second.followed->mlp, taken, 1e-5 * born);
  EXPECT_NEAR(second.followed->resid_out, born + taken, 1e-5 * born);
  EXPECT_EQ(second.followed->neurons[0].neuron, 2);
  EXPECT_NEAR(second.followed->neurons[0].product, taken, -1e-5 * taken);
}

}  // namespace
}  // namespace outliers::measures
