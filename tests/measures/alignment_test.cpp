// Which layers, channels, experts and keys alignment counts, of layers whose results are written by hand.
#include <gmock/gmock.h>

#include "measures/measured.h"

namespace outliers::measures {
namespace {

using results::Expert;
using testing::Optional;

struct Channel {
  int64_t number;
  std::optional<Expert> expert;
};

class AlignmentOfLayers : public testing::Test {
 protected:
  AlignmentOfLayers() {
    for (const MeasureInfo& row : measure_table()) {
      if (row.name == std::string("alignment")) measure_ = row.make(context_, SIZE_MAX);
    }
  }

  /// A layer with these on top, an outlier at a token, and outlier keys at some.
  static results::Layer made(Channel column, Channel channel, const std::vector<int64_t>& keys = {}) {
    results::Layer layer;
    results::Weight& down = layer.weights.emplace().modules["down"];
    down.top_columns = {{column.number, 9, 0, 1}, {channel.number + 1, 5, 0, 1}};
    down.expert = column.expert;
    results::LayerInput& here = layer.inputs["corpus"];
    here.down_in.emplace().top_channels = {{channel.number, 9, channel.expert}, {column.number + 1, 5, {}}};
    here.resid_out.emplace().mean = 2;
    here.resid_out->median = 1;
    results::Attention& attention = here.attention.emplace();
    for (const int64_t key : keys) attention.outlier_keys.push_back({0, key, 4, "", ""});
    return layer;
  }
  /// outlier_token_ratio x the mean is 2000; `largest`: of each token.
  void add(results::Layer layer, std::vector<double> largest = {1, 1, 1}) {
    arrays_.add("corpus.resid_out.token_max", at::tensor(largest, at::kFloat).unsqueeze(0));
    arrays_.add("corpus.down_in.channel_max", at::ones({6}));
    measure_->end_layer(layer, arrays_);
    measure_->forget_layer();
    results_.layers.push_back(std::move(layer));
  }
  results::Alignment alignment() {
    measure_->finish(results_);
    return results_.summary.alignment;
  }

  const models::Config config_{};
  const tests::Numbers names_{};
  const Context context_{
      config_, names_, {{"corpus", results::InputKind::corpus, at::zeros({1, 3}, at::kLong)}}};
  std::unique_ptr<Measure> measure_;
  Arrays arrays_;
  results::Results results_;
};

TEST_F(AlignmentOfLayers, IsOfTheSameChannelOfTheSameExpert) {
  const Expert one{1}, two{2}, shared{Expert::kShared};
  add(made({3, one}, {3, one}));
  add(made({3, one}, {3, two}));
  add(made({3, shared}, {3, one}));
  add(made({3, one}, {4, one}));
  add(made({3, {}}, {3, {}}));
  EXPECT_THAT(alignment().weight_activation, Optional(2.0 / 5));
  EXPECT_EQ(alignment().activation_attention, std::nullopt);
}

TEST_F(AlignmentOfLayers, OfExpertsIsToldOfTheTopChannels) {
  const Expert one{1}, two{2}, shared{Expert::kShared};
  results::Layer layer = made({0, shared}, {1, one});
  results::Activations& down_in = *layer.inputs["corpus"].down_in;
  down_in.max = 1001;
  down_in.mean = 1;
  down_in.top_channels = {{1, 1001, one}, {0, 500, two}};
  // [D,F] of each expert: the second of `two` weighs most, and reaches half as much.
  measure_->add_weight(0, {"down", at::tensor({0.0F, 2.0F, 1.0F, -3.0F}).view({2, 2}), 1});
  measure_->add_weight(0, {"down", at::tensor({7.0F, 0.0F, 1.0F, 0.0F}).view({2, 2}), 2});
  measure_->add_weight(0, {"down", at::tensor({0.0F, 9.0F, -8.0F, 9.0F}).view({2, 2}), Expert::kShared});
  measure_->add_weight(0, {"up", at::full({2, 2}, 99.0F), 1});
  add(layer);
  const results::OutlierLayers of = alignment().outlier_layers.value();
  ASSERT_EQ(of.layers.size(), 1u);
  EXPECT_THAT(of.share, Optional(0.0));
  const results::OutlierLayer& told = of.layers[0];
  EXPECT_EQ(told.max_over_mean, 1001);
  EXPECT_EQ(told.top_weight.expert, shared);
  EXPECT_EQ(told.top_weight.weight, -8);
  EXPECT_EQ(told.top_weight.row, 1);
  EXPECT_EQ(told.top_weight.ratio, 2);
  EXPECT_EQ(told.top_weight.down_in, std::nullopt);  // it is none of the top channels
  EXPECT_EQ(told.top_weight.product, std::nullopt);
  EXPECT_EQ(told.top_activation.expert, one);
  EXPECT_EQ(told.top_activation.neuron, 1);
  EXPECT_EQ(told.top_activation.weight, -3);
  EXPECT_THAT(told.top_activation.product, Optional(3003.0));
  EXPECT_EQ(told.top_product.expert, two);
  EXPECT_EQ(told.top_product.neuron, 0);
  EXPECT_THAT(told.top_product.product, Optional(3500.0));
}

TEST_F(AlignmentOfLayers, LooksAtTheTokensOfTheLayerBefore) {
  add(made({3, {}}, {3, {}}, {1}), {2001, 1999, 1});  // no layer is before it
  add(made({3, {}}, {3, {}}, {0, 1}), {1, 2001, 1});
  add(made({3, {}}, {3, {}}, {0, 1}), {2001, 2001, 2001});
  EXPECT_THAT(alignment().activation_attention, Optional(2.0 / 4));
}

TEST_F(AlignmentOfLayers, LeavesOutWhatIsNotFinite) {
  add(made({3, {}}, {3, {}}), {2001, 1, 1});
  results::Layer broken = made({3, {}}, {4, {}}, {0});
  broken.inputs["corpus"].attention->nonfinite = 1;
  add(broken, {2001, 1, 1});
  broken = made({3, {}}, {4, {}}, {0, 1});
  broken.inputs["corpus"].resid_out->nonfinite = 1;
  add(broken, {2001, 1, 1});
  add(made({3, {}}, {4, {}}, {0}), {2001, 1, 1});
  EXPECT_THAT(alignment().activation_attention, Optional(1.0 / 2));
  EXPECT_THAT(alignment().weight_activation, Optional(1.0 / 4));
  results_.summary.first_nonfinite.emplace().layer = 1;
  EXPECT_THAT(alignment().weight_activation, Optional(1.0));
}

}  // namespace
}  // namespace outliers::measures
