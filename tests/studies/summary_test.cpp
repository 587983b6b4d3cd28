#include "outliers/studies/summary.h"

#include <gmock/gmock.h>

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;

/// A layer of activations; `massive` are (token, channel).
ordered_json layer(int64_t index, double max, double median, int64_t top_channel = 0,
                   const std::vector<std::pair<int64_t, int64_t>>& massive = {}) {
  ordered_json listed = ordered_json::array();
  for (const auto& [token, channel] : massive) listed.push_back({{"token", token}, {"channel", channel}});
  return {{"layer", index},
          {"max", max},
          {"median", median},
          {"massive", listed},
          {"top_channels", {{{"channel", top_channel}, {"max", max}}}}};
}

ordered_json weights(int64_t top_column) {
  return {{"modules", {{"down", {{"top_columns", {{{"column", top_column}}}}}}}}};
}

/// Four layers: born in layer 1, largest in layer 2, removed in layer 3.
ordered_json results() {
  ordered_json r;
  r["prompt"] = {{"tokens", {"The", " end", "."}},
                 {"classes", {"initial", "other", "strong_delimiter"}},
                 {"embedding", {{"max", 0.5}, {"median", 0.25}}}};
  r["activations"]["prompt"]["resid_out"] = {
      layer(0, 1, 0.25), layer(1, 400, 0.25, 0, {{0, 9}, {2, 5}, {2, 9}}),
      layer(2, 448, 0.25, 0, {{0, 9}, {0, 2}, {0, 7}}), layer(3, 101, 0.1, 0, {{2, 7}, {2, 9}})};
  r["activations"]["prompt"]["down_in"] = {layer(0, 2, 0), layer(1, 40, 0), layer(2, 1, 0), layer(3, 1, 0)};
  r["activations"]["corpus"]["resid_out"] = {layer(0, 1, 0.25), layer(1, 896, 0.5), layer(2, 500, 0.25),
                                             layer(3, 50, 0.25)};
  r["activations"]["corpus"]["down_in"] = {layer(0, 2, 0, 4), layer(1, 30, 0, 6), layer(2, 1, 0, 8),
                                           layer(3, 1, 0, 1)};
  r["weights"] = {weights(4), weights(6), weights(7), weights(1)};
  return r;
}

TEST(Summarise, TellsTheLifeSpan) {
  const ordered_json s = summarise(results(), std::nullopt);
  EXPECT_EQ(s["found"], true);
  EXPECT_EQ(s["born_layer"], 1);
  EXPECT_EQ(s["peak_layer"], 2);
  EXPECT_EQ(s["removed_layer"], 3);
}

TEST(Summarise, LeavesNullsWhereNothingIsFound) {
  ordered_json r = results();
  r["activations"]["prompt"]["resid_out"] = {layer(0, 1, 0.25), layer(1, 2, 0.25), layer(2, 24, 0.25),
                                             layer(3, 1, 0.25)};
  const ordered_json s = summarise(r, std::nullopt);
  EXPECT_EQ(s["found"], false);
  for (const char* field : {"born_layer", "peak_layer", "removed_layer"})
    EXPECT_EQ(s[field], nullptr) << field;
  EXPECT_EQ(s["massive_channels"], ordered_json::array());
  EXPECT_EQ(s["massive_tokens"], ordered_json::array());
}

TEST(Summarise, ListsMassiveChannelsOfMostLayersFirst) {
  // 9 is massive in three layers (twice in one, which counts once), 7 in two, 2 and 5 in one each.
  EXPECT_EQ(summarise(results(), std::nullopt)["massive_channels"], ordered_json({9, 7, 2, 5}));
}

TEST(Summarise, SpansTheLayersOfMassiveTokens) {
  const ordered_json wanted = {
      {{"token", 0}, {"text", "The"}, {"class", "initial"}, {"first_layer", 1}, {"last_layer", 2}},
      {{"token", 2}, {"text", "."}, {"class", "strong_delimiter"}, {"first_layer", 1}, {"last_layer", 3}}};
  EXPECT_EQ(summarise(results(), std::nullopt)["massive_tokens"], wanted);
}

TEST(Summarise, CountsAlignedLayers) {
  // Columns 4, 6, 7, 1 against the corpus's channels 4, 6, 8, 1.
  ordered_json r = results();
  EXPECT_EQ(summarise(r, 0.25)["alignment"],
            ordered_json({{"weight_activation", 0.75}, {"activation_attention", 0.25}}));
  EXPECT_EQ(summarise(r, std::nullopt)["alignment"]["activation_attention"], nullptr);
  EXPECT_EQ(summarise(r, 0.0)["alignment"]["activation_attention"], 0.0);
  // A layer without a top column (all weights zero) or channel is one that does not agree.
  r["weights"][0]["modules"]["down"]["top_columns"] = ordered_json::array();
  r["activations"]["corpus"]["down_in"][1]["top_channels"] = ordered_json::array();
  EXPECT_EQ(summarise(r, std::nullopt)["alignment"]["weight_activation"], 0.25);
}

TEST(Summarise, TakesTheHeadroomOfTheLargestLayerOfBothBatches) {
  const ordered_json s = summarise(results(), std::nullopt)["headroom"];
  const ordered_json& resid = s["resid_out"];
  EXPECT_EQ(resid["layer"], 1);
  EXPECT_EQ(resid["batch"], "corpus");
  EXPECT_EQ(resid["max"], 896);
  EXPECT_EQ(resid["max_over_median"], 1792);
  EXPECT_DOUBLE_EQ(resid["of_fp16_max"], 896.0 / 65504);
  EXPECT_EQ(resid["of_fp8_e4m3_max"], 2);
  EXPECT_DOUBLE_EQ(resid["int8_step_over_median"], 1792.0 / 127);
}

TEST(Summarise, LeavesOutRatiosToAMedianOfZero) {
  const ordered_json wanted = {{"layer", 1},
                               {"batch", "prompt"},
                               {"max", 40.0},
                               {"max_over_median", nullptr},
                               {"of_fp16_max", 40.0 / 65504},
                               {"of_fp8_e4m3_max", 40.0 / 448},
                               {"int8_step_over_median", nullptr},
                               {"nonfinite", 0}};
  EXPECT_EQ(summarise(results(), std::nullopt)["headroom"]["down_in"], wanted);
}

TEST(Summarise, TellsOfTheLayersBeforeTheFirstThatIsNotFinite) {
  ordered_json r = results();
  r["activations"]["corpus"]["resid_out"][2]["nonfinite"] = 7;
  r["attention"]["corpus"] = ordered_json::array();
  for (const double rate : {0.5, 1.0, 0.0, 0.0})
    r["attention"]["corpus"].push_back({{"heads", {{{"sink_rate", rate}}}}});
  const ordered_json s = summarise(r, std::nullopt, {{"layer", 2}});
  EXPECT_EQ(s["first_nonfinite"]["layer"], 2);
  EXPECT_EQ(s["found"], true);
  EXPECT_EQ(s["born_layer"], 1);
  EXPECT_EQ(s["peak_layer"], 1);
  EXPECT_EQ(s["removed_layer"], nullptr);
  EXPECT_EQ(s["massive_channels"], ordered_json({5, 9}));
  EXPECT_EQ(s["massive_tokens"][0]["last_layer"], 1);
  EXPECT_EQ(s["alignment"]["weight_activation"], 1);
  EXPECT_EQ(s["sink_rate"], 0.75);
  EXPECT_EQ(s["headroom"]["resid_out"]["layer"], 1);
  EXPECT_EQ(s["headroom"]["resid_out"]["nonfinite"], 7);

  const ordered_json nothing = summarise(r, std::nullopt, {{"layer", 0}});
  EXPECT_EQ(nothing["found"], false);
  for (const char* field : {"born_layer", "peak_layer", "removed_layer", "sink_rate"})
    EXPECT_EQ(nothing[field], nullptr) << field;
  EXPECT_EQ(nothing["alignment"]["weight_activation"], nullptr);
  EXPECT_EQ(nothing["headroom"]["resid_out"], nullptr);
}

TEST(Summarise, HasNothingToSayOfNoLayers) {
  ordered_json r = results();
  for (const char* batch : {"prompt", "corpus"}) {
    for (const char* point : {"resid_out", "down_in"}) r["activations"][batch][point] = ordered_json::array();
  }
  r["weights"] = ordered_json::array();
  const ordered_json s = summarise(r, std::nullopt);
  EXPECT_EQ(s["found"], false);
  EXPECT_EQ(s["alignment"]["weight_activation"], nullptr);
  EXPECT_EQ(s["headroom"]["resid_out"], nullptr);
  EXPECT_EQ(s["headroom"]["down_in"], nullptr);
}

}  // namespace
}  // namespace outliers::studies
