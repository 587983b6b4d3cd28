// What the summary makes of numbers that are known: axes, secondary sinks, super experts, inactive heads.
#include "outliers/studies/features.h"

#include <gtest/gtest.h>

namespace outliers::studies {
namespace {

using results::Results;

/// Four layers of a corpus of two sequences of ten tokens.
Results corpus() {
  Results r;
  r.model.layers = 4;
  r.inputs.resize(1);
  r.inputs[0].name = "corpus";
  r.inputs[0].sequences = 2;
  r.inputs[0].tokens_per_sequence = 10;
  r.layers.resize(4);
  for (int64_t l = 0; l < 4; ++l) {
    results::Layer& layer = r.layers[static_cast<size_t>(l)];
    layer.layer = l;
    layer.inputs["corpus"];
  }
  return r;
}

results::LayerInput& part(Results& r, size_t layer) {
  return *r.layers[layer].inputs.find("corpus");
}

TEST(Features, OfNothingAreNone) {
  Results r = corpus();
  add_features(r);
  EXPECT_FALSE(r.summary.axes);
  EXPECT_FALSE(r.summary.secondary_sinks);
  EXPECT_FALSE(r.summary.super_experts);
  EXPECT_FALSE(r.summary.inactive_heads);
  r.inputs.clear();
  r.layers.clear();
  r.model.layers = 0;
  add_features(r);
  EXPECT_FALSE(r.summary.axes);
}

TEST(Features, AxesAreBesideEachOther) {
  Results r = corpus();
  for (size_t l = 0; l < 4; ++l) {
    results::Activations& of = part(r, l).resid_out.emplace();
    of.max = 100.0 * static_cast<double>(l);
    of.median = l == 3 ? 0 : 2;
    part(r, l).attention.emplace().heads = {{0, 0, 0.25}, {1, 0, 0.75}};
    if (l > 0) part(r, l).values["drain_first_token"] = {0.5, 1.5};
  }
  r.summary.first_nonfinite.emplace().layer = 3;
  add_features(r);
  ASSERT_TRUE(r.summary.axes);
  EXPECT_EQ(r.summary.axes->input, "corpus");
  ASSERT_EQ(r.summary.axes->layers.size(), 3u);
  EXPECT_EQ(r.summary.axes->layers[2].spike, 100);
  EXPECT_EQ(r.summary.axes->layers[2].sink, 0.5);
  EXPECT_EQ(r.summary.axes->layers[2].drain, 1);
  EXPECT_FALSE(r.summary.axes->layers[0].drain);
}

TEST(Features, SecondarySinksComeAfterTheFirstKey) {
  Results r = corpus();
  const auto key = [&](size_t layer, int64_t sequence, int64_t at, double score) {
    std::optional<results::Attention>& attention = part(r, layer).attention;
    if (!attention) attention.emplace();
    attention->outlier_keys.push_back({sequence, at, score, "t" + std::to_string(at), "other"});
  };
  for (size_t l = 0; l < 4; ++l) part(r, l).attention.emplace();
  // Sequence 0: the first key from layer 1 on, key 3 from layer 1 (primary as well), key 7 from layer 2.
  for (size_t l = 1; l < 4; ++l) key(l, 0, 0, 6);
  key(1, 0, 3, 2);
  key(2, 0, 7, 1.5);
  key(3, 0, 7, 2.5);
  // Sequence 1 has no sink at its first key.
  key(3, 1, 5, 9);
  add_features(r);
  ASSERT_TRUE(r.summary.secondary_sinks);
  EXPECT_EQ(r.summary.secondary_sinks->count, 1);
  const results::SecondarySink& sink = r.summary.secondary_sinks->largest.at(0);
  EXPECT_EQ(sink.sequence, 0);
  EXPECT_EQ(sink.key, 7);
  EXPECT_EQ(sink.token_text, "t7");
  EXPECT_EQ(sink.first_layer, 2);
  EXPECT_EQ(sink.last_layer, 3);
  EXPECT_DOUBLE_EQ(sink.score, 0.25);
}

TEST(Features, SuperExpertsStepTheResidualUp) {
  Results r = corpus();
  const double maxima[] = {1, 100, 101, 60};
  for (size_t l = 0; l < 4; ++l) {
    part(r, l).resid_out.emplace().max = maxima[l];
    for (int64_t e = 0; e < 8; ++e) part(r, l).experts.push_back({results::Expert{e}, 1, 1, 0.5});
  }
  part(r, 1).experts[3].down_out_max = 90;
  part(r, 1).experts.push_back({results::Expert{results::Expert::kShared}, 1, 1, 95});  // not one of them
  part(r, 2).experts[5].down_out_max = 80;  // its layer adds 1 to 100
  r.criteria.super_expert_quantile = 0.9;
  add_features(r);
  ASSERT_TRUE(r.summary.super_experts);
  ASSERT_EQ(r.summary.super_experts->size(), 1u);
  EXPECT_EQ(r.summary.super_experts->at(0).layer, 1);
  EXPECT_EQ(r.summary.super_experts->at(0).expert.number, 3);
  EXPECT_EQ(r.summary.super_experts->at(0).down_out_max, 90);
  // Of 32 values the quantile 0.99 lies 0.69 of the way from 80 to 90.
  r.criteria.super_expert_quantile = 0.99;
  add_features(r);
  EXPECT_EQ(r.summary.super_experts->size(), 1u);
  r.criteria.super_expert_quantile = 1;
  add_features(r);
  EXPECT_TRUE(r.summary.super_experts->empty());
}

TEST(Features, InactiveHeadsAreDeadOrDormant) {
  Results r = corpus();
  for (size_t l = 0; l < 2; ++l) {
    part(r, l).values["output_share"] = {1, 0.04, 0.9, 0.01};
    part(r, l).values["first_key_mass"] = {0.95, 0.1, 0.9, 0.99};
  }
  add_features(r);
  ASSERT_TRUE(r.summary.inactive_heads);
  const results::InactiveHeads& heads = *r.summary.inactive_heads;
  EXPECT_EQ(heads.heads, 8);
  EXPECT_EQ(heads.dormant, 2);
  EXPECT_EQ(heads.dead, 4);
  ASSERT_EQ(heads.list.size(), 6u);
  EXPECT_EQ(heads.list[0].head, 0);
  EXPECT_FALSE(heads.list[0].dead);
  EXPECT_EQ(heads.list[2].head, 3);
  EXPECT_TRUE(heads.list[2].dead);
}

}  // namespace
}  // namespace outliers::studies
