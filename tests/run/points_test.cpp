#include "outliers/run/points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace outliers::run {
namespace {

models::Config model_of(int64_t layers) {
  models::Config config;
  config.layers = layers;
  return config;
}

std::vector<std::string> names(const std::string& text, const models::Config& config) {
  std::vector<std::string> result;
  for (const Site& site : parse_sites(text, config)) result.push_back(site_name(site));
  return result;
}

std::vector<std::string> names(const std::string& text, int64_t layers) {
  return names(text, model_of(layers));
}

std::string error_of(const std::string& text, const models::Config& config = model_of(4)) {
  return tests::error_of([&] { parse_sites(text, config); });
}

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PointTable, IsInTheEnumsOrder) {
  for (size_t i = 0; i < point_table().size(); ++i) EXPECT_EQ(point_table()[i].point, static_cast<Point>(i));
  EXPECT_EQ(point_table().size(), 35u);
  EXPECT_STREQ(point_name(Point::down_in), "down_in");
  EXPECT_EQ(site_name({3, Point::down_in}), "layer.3.down_in");
  EXPECT_EQ(site_name({-1, Point::logits}), "logits");
}

TEST(ParseSites, ReadsLayersRangesAndGlobs) {
  EXPECT_THAT(names("layer.3.down_in", 4), ElementsAre("layer.3.down_in"));
  EXPECT_THAT(names("layer.*.resid_out", 3),
              ElementsAre("layer.0.resid_out", "layer.1.resid_out", "layer.2.resid_out"));
  EXPECT_THAT(names("layer.1..2.key", 4), ElementsAre("layer.1.key", "layer.2.key"));
  EXPECT_THAT(names("layer.-2..-1.key", 4), ElementsAre("layer.2.key", "layer.3.key"));
  EXPECT_THAT(names("layer.0.down_*", 4), ElementsAre("layer.0.down_in", "layer.0.down_out"));
  EXPECT_EQ(names("layer.*.*,*", 4).size(), 4 * 19 + 2u);
}

TEST(ParseSites, OrdersAsComputedAndDropsRepeats) {
  EXPECT_THAT(names("logits, layer.1.query ,layer.0.resid_out,layer.1.query,final_norm_out", 2),
              ElementsAre("layer.0.resid_out", "layer.1.query", "final_norm_out", "logits"));
}

TEST(ParseSites, KnowsWhichPointsTheModelHas) {
  models::Config plain = model_of(2);
  plain.gated_mlp = false;
  EXPECT_EQ(names("layer.*.*", plain).size(), 2 * 18u);
  EXPECT_THAT(names("layer.0.*t_out", plain), testing::Not(testing::Contains("layer.0.gate_out")));
  EXPECT_THAT(error_of("layer.1.gate_out", plain), HasSubstr("the MLP there has no gate"));
}

TEST(ParseSites, KnowsThatImagesHaveNoLogits) {
  models::Config vision = model_of(2);
  vision.vision.channels = 3;
  EXPECT_THAT(names("*", vision), ElementsAre("final_norm_out"));
  EXPECT_FALSE(has_anywhere(vision, Point::logits));
  EXPECT_THAT(error_of("logits", vision),
              HasSubstr("there is no point 'logits': this model has no vocabulary"));
}

TEST(ParseSites, KnowsWhichLayersAreOfExperts) {
  models::Config mixture = model_of(3);
  mixture.experts.count = 4;
  mixture.routed = {false, true, true};
  EXPECT_THAT(names("layer.*.down_in,layer.*.experts.down_in", mixture),
              ElementsAre("layer.0.down_in", "layer.1.experts.down_in", "layer.2.experts.down_in"));
  EXPECT_THAT(names("layer.1..2.experts.index", mixture),
              ElementsAre("layer.1.experts.index", "layer.2.experts.index"));
  EXPECT_EQ(names("layer.*.*", mixture).size(), 19 + 2 * 23u);
  EXPECT_THAT(error_of("layer.1.down_in", mixture), HasSubstr("is of experts; write experts.down_in"));
  EXPECT_THAT(error_of("layer.0.router_logits", mixture), HasSubstr("is not of experts"));
  EXPECT_THAT(error_of("layer.*.shared.down_in", mixture), HasSubstr("has no shared expert"));
  EXPECT_THAT(error_of("experts.down_in", mixture), HasSubstr("write 'layer.*.experts.down_in'"));
  EXPECT_THAT(error_of("layer.1.experts.donw_in", mixture),
              HasSubstr("did you mean 'layer.1.experts.down_in'?"));
  mixture.experts.shared_width = 5;
  EXPECT_EQ(names("layer.1.*", mixture).size(), 29u);
}

TEST(ParseSites, ExplainsMistakes) {
  EXPECT_THAT(error_of("layer.3.donw_in"), HasSubstr("did you mean 'layer.3.down_in'?"));
  EXPECT_THAT(error_of("lyer.3.down_in"), HasSubstr("did you mean 'layer.N.down_in'?"));
  EXPECT_THAT(error_of("donw_in"), HasSubstr("did you mean 'layer.N.down_in'?"));
  EXPECT_THAT(error_of("down_*"), HasSubstr("write 'layer.*.down_*'"));
  EXPECT_THAT(error_of("logit"), HasSubstr("did you mean 'logits'?"));
  EXPECT_THAT(error_of("down_in"), HasSubstr("write 'layer.*.down_in'"));
  EXPECT_THAT(error_of("layer.0.logits"), HasSubstr("write 'logits'"));
  EXPECT_THAT(error_of("layer.4.down_in"), HasSubstr("outside the model's layers 0 to 3"));
  EXPECT_THAT(error_of("layer.-5.down_in"), HasSubstr("outside"));
  EXPECT_THAT(error_of("layer.2..1.down_in"), HasSubstr("backwards"));
  EXPECT_THAT(error_of("layer.x.down_in"), HasSubstr("'x'"));
  EXPECT_THAT(error_of("layer.down_in"), HasSubstr("lacks its name"));
  EXPECT_THAT(error_of("zzz"), HasSubstr("known: final_norm_out, logits, layer.N.resid_in"));
  EXPECT_THAT(error_of("layer.0.key,,logits"), HasSubstr("empty item"));
}

TEST(Points, OfAModelWithoutAHeadHaveNoLogits) {
  models::Config config = model_of(4);
  config.missing_head = "lm_head.weight";
  EXPECT_THAT(error_of("logits", config), testing::HasSubstr("lm_head.weight"));
  EXPECT_THAT(names("*", config), ElementsAre("final_norm_out"));
}

}  // namespace
}  // namespace outliers::run
