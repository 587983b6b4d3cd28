#include "outliers/studies/summary.h"

#include <gmock/gmock.h>

namespace outliers::studies {
namespace {

using results::InputKind;
using results::Results;
using testing::ElementsAre;
using testing::Optional;

/// A layer of activations; `massive` are (token, channel).
results::Activations activations(double max, double median,
                                 const std::vector<std::pair<int64_t, int64_t>>& massive = {}) {
  results::Activations x;
  x.max = max;
  x.median = median;
  for (const auto& [token, channel] : massive) {
    results::Place& place = x.massive.emplace_back();
    place.token = token;
    place.channel = channel;
  }
  return x;
}

/// Four layers: born in layer 1, largest in layer 2, removed in layer 3.
Results sample() {
  Results r;
  r.inputs.resize(2);
  results::Input &prompt = r.inputs[0], &corpus = r.inputs[1];
  prompt.name = "prompt";
  prompt.kind = InputKind::prompt;
  prompt.tokens = {"The", " end", "."};
  prompt.classes = {"initial", "other", "strong_delimiter"};
  prompt.embedding = {0.5, 0.25};
  corpus.name = "corpus";
  const std::vector<results::Activations> of_prompt = {
      activations(1, 0.25), activations(400, 0.25, {{0, 9}, {2, 5}, {2, 9}}),
      activations(448, 0.25, {{0, 9}, {0, 2}, {0, 7}}), activations(101, 0.1, {{2, 7}, {2, 9}})};
  const std::vector<results::Activations> of_corpus = {activations(1, 0.25), activations(896, 0.5),
                                                       activations(500, 0.25), activations(50, 0.25)};
  const std::vector<double> down_in_prompt = {2, 40, 1, 1}, down_in_corpus = {2, 30, 1, 1};
  for (size_t l = 0; l < of_prompt.size(); ++l) {
    results::Layer& layer = r.layers.emplace_back();
    layer.layer = static_cast<int64_t>(l);
    layer.inputs["prompt"].resid_out = of_prompt[l];
    layer.inputs["prompt"].down_in = activations(down_in_prompt[l], 0);
    layer.inputs["corpus"].resid_out = of_corpus[l];
    layer.inputs["corpus"].down_in = activations(down_in_corpus[l], 0);
  }
  return r;
}

results::Summary summary_of(Results r) {
  summarise(r);
  return r.summary;
}

TEST(Summarise, TellsTheLifeSpan) {
  const results::Summary s = summary_of(sample());
  ASSERT_EQ(s.lives.size(), 1u);
  EXPECT_EQ(s.lives[0].input, "prompt");
  EXPECT_TRUE(s.lives[0].found);
  EXPECT_THAT(s.lives[0].born_layer, Optional(1));
  EXPECT_THAT(s.lives[0].peak_layer, Optional(2));
  EXPECT_THAT(s.lives[0].removed_layer, Optional(3));
}

TEST(Summarise, TellsALifeOfEachPrompt) {
  Results r = sample();
  r.inputs.insert(r.inputs.begin() + 1, r.inputs[0]);
  r.inputs[1].name = "prompt2";
  r.inputs[1].tokens[0] = "An";
  for (results::Layer& layer : r.layers) {
    const results::LayerInput same = layer.inputs["prompt"];
    layer.inputs["prompt2"] = same;
  }
  // Of this one the largest step is the last layer's.
  r.layers[1].inputs["prompt2"].resid_out = activations(2, 0.25);
  r.layers[2].inputs["prompt2"].resid_out = activations(3, 0.25);
  const results::Summary s = summary_of(r);
  ASSERT_EQ(s.lives.size(), 2u);
  EXPECT_THAT(s.lives[0].born_layer, Optional(1));
  EXPECT_EQ(s.lives[1].input, "prompt2");
  EXPECT_THAT(s.lives[1].born_layer, Optional(3));
  EXPECT_EQ(s.lives[1].removed_layer, std::nullopt);
  EXPECT_THAT(s.lives[1].massive_channels, ElementsAre(7, 9));
}

TEST(Summarise, LeavesNothingWhereNothingIsFound) {
  Results r = sample();
  const std::vector<double> max = {1, 2, 24, 1};
  for (size_t l = 0; l < max.size(); ++l) r.layers[l].inputs["prompt"].resid_out = activations(max[l], 0.25);
  const results::Life life = summary_of(r).lives.at(0);
  EXPECT_FALSE(life.found);
  for (const auto& layer : {life.born_layer, life.peak_layer, life.removed_layer})
    EXPECT_EQ(layer, std::nullopt);
  EXPECT_TRUE(life.massive_channels.empty());
  EXPECT_TRUE(life.massive_tokens.empty());
}

TEST(Summarise, ListsMassiveChannelsOfMostLayersFirst) {
  // 9 is massive in three layers (twice in one, which counts once), 7 in two, 2 and 5 in one each.
  EXPECT_THAT(summary_of(sample()).lives.at(0).massive_channels, ElementsAre(9, 7, 2, 5));
}

TEST(Summarise, SpansTheLayersOfMassiveTokens) {
  const std::vector<results::MassiveToken> tokens = summary_of(sample()).lives.at(0).massive_tokens;
  ASSERT_EQ(tokens.size(), 2u);
  const auto is = [](const results::MassiveToken& x, int64_t token, const char* text, const char* kind,
                     int64_t first, int64_t last) {
    EXPECT_EQ(x.token, token);
    EXPECT_EQ(x.text, text);
    EXPECT_EQ(x.token_class, kind);
    EXPECT_EQ(x.first_layer, first);
    EXPECT_EQ(x.last_layer, last);
  };
  is(tokens[0], 0, "The", "initial", 1, 2);
  is(tokens[1], 2, ".", "strong_delimiter", 1, 3);
}

TEST(Summarise, TakesTheHeadroomOfTheLargestLayerOfAllInputs) {
  const results::Headroom resid = **summary_of(sample()).headroom.find("resid_out");
  EXPECT_EQ(resid.layer, 1);
  EXPECT_EQ(resid.input, "corpus");
  EXPECT_EQ(resid.max, 896);
  EXPECT_THAT(resid.max_over_median, Optional(1792));
  EXPECT_DOUBLE_EQ(resid.of_fp16_max, 896.0 / 65504);
  EXPECT_EQ(resid.of_fp8_e4m3_max, 2);
  EXPECT_THAT(resid.int8_step_over_median, Optional(testing::DoubleEq(1792.0 / 127)));
}

TEST(Summarise, LeavesOutRatiosToAMedianOfZero) {
  const results::Headroom down_in = **summary_of(sample()).headroom.find("down_in");
  EXPECT_EQ(down_in.layer, 1);
  EXPECT_EQ(down_in.input, "prompt");
  EXPECT_EQ(down_in.max, 40);
  EXPECT_EQ(down_in.max_over_median, std::nullopt);
  EXPECT_EQ(down_in.int8_step_over_median, std::nullopt);
  EXPECT_EQ(down_in.of_fp16_max, 40.0 / 65504);
  EXPECT_EQ(down_in.of_fp8_e4m3_max, 40.0 / 448);
  EXPECT_EQ(down_in.nonfinite, 0);
}

TEST(Summarise, TellsOfTheLayersBeforeTheFirstThatIsNotFinite) {
  Results r = sample();
  r.layers[2].inputs["corpus"].resid_out->nonfinite = 7;
  const std::vector<double> rates = {0.5, 1.0, 0.0, 0.0};
  for (size_t l = 0; l < rates.size(); ++l)
    r.layers[l].inputs["corpus"].attention.emplace().heads = {{0, 0.0, rates[l]}};
  r.summary.first_nonfinite.emplace().layer = 2;
  const results::Summary s = summary_of(r);
  EXPECT_EQ(s.first_nonfinite->layer, 2);
  const results::Life& life = s.lives.at(0);
  EXPECT_TRUE(life.found);
  EXPECT_THAT(life.born_layer, Optional(1));
  EXPECT_THAT(life.peak_layer, Optional(1));
  EXPECT_EQ(life.removed_layer, std::nullopt);
  EXPECT_THAT(life.massive_channels, ElementsAre(5, 9));
  EXPECT_EQ(life.massive_tokens.at(0).last_layer, 1);
  EXPECT_THAT(s.sink_rate, Optional(0.75));
  EXPECT_EQ((*s.headroom.find("resid_out"))->layer, 1);
  EXPECT_EQ((*s.headroom.find("resid_out"))->nonfinite, 7);

  r.summary = {};
  r.summary.first_nonfinite.emplace().layer = 0;
  const results::Summary nothing = summary_of(r);
  EXPECT_FALSE(nothing.lives.at(0).found);
  EXPECT_EQ(nothing.lives.at(0).born_layer, std::nullopt);
  EXPECT_EQ(nothing.sink_rate, std::nullopt);
  EXPECT_FALSE(nothing.headroom.find("resid_out")->has_value());
}

TEST(Summarise, AveragesTheSinkRatesOfAllCorpora) {
  Results r = sample();
  r.inputs.push_back(r.inputs[1]);
  r.inputs.back().name = "corpus2";
  for (results::Layer& layer : r.layers) {
    const results::LayerInput same = layer.inputs["corpus"];
    layer.inputs["corpus2"] = same;
    layer.inputs["prompt"].attention.emplace().heads = {{0, 0.0, 1.0}};
    layer.inputs["corpus"].attention.emplace().heads = {{0, 0.0, 0.5}};
    layer.inputs["corpus2"].attention.emplace().heads = {{0, 0.0, 0.25}};
  }
  EXPECT_THAT(summary_of(r).sink_rate, Optional(0.375));
}

TEST(Summarise, TellsOnlyOfWhatWasMeasured) {
  Results r = sample();
  for (results::Layer& layer : r.layers) {
    for (auto& [name, input] : layer.inputs) input = {};
  }
  const results::Summary s = summary_of(r);
  EXPECT_TRUE(s.lives.empty());
  EXPECT_TRUE(s.headroom.empty());
  EXPECT_EQ(s.sink_rate, std::nullopt);
  EXPECT_EQ(s.norms, std::nullopt);
}

TEST(Summarise, TellsTheNormsOfTheLastLayer) {
  Results r = sample();
  for (results::Layer& layer : r.layers) {
    results::Norms& norms = layer.inputs["corpus"].norms.emplace();
    norms.cls.median = 10.0 * static_cast<double>(layer.layer);
    norms.patches.high = layer.layer;
    norms.patches.count = 12;
  }
  const results::Summary s = summary_of(r);
  ASSERT_TRUE(s.norms.has_value());
  EXPECT_EQ(s.norms->layer, 3);
  EXPECT_EQ(s.norms->cls_median, 30);
  EXPECT_TRUE(std::isnan(s.norms->register_median));
  EXPECT_EQ(s.norms->high_share, 0.25);
  r.summary = {};
  r.summary.first_nonfinite.emplace().layer = 3;
  EXPECT_EQ(summary_of(r).norms, std::nullopt);
}

TEST(Summarise, HasNothingToSayOfNoLayers) {
  Results r = sample();
  r.layers.clear();
  const results::Summary s = summary_of(r);
  EXPECT_TRUE(s.lives.empty());
  EXPECT_EQ(s.sink_rate, std::nullopt);
}

}  // namespace
}  // namespace outliers::studies
