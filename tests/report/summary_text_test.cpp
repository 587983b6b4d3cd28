#include "outliers/report/summary_text.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <gmock/gmock.h>

#include "outliers/report/format.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

// A three-layer model: born in layer 0, carried to layer 1, removed in layer 2.
ordered_json results() {
  const auto layer = [](int l, double max, double median) {
    return ordered_json{{"layer", l},
                        {"max", max},
                        {"median", median},
                        {"nonfinite", 0},
                        {"top", {{{"value", -max}, {"sequence", 0}, {"token", 0}, {"channel", 7}}}}};
  };
  const auto write = [](double in, double attention, double mlp) {
    return ordered_json{
        {"token", 0},
        {"channel", 7},
        {"resid_in", in},
        {"attention", attention},
        {"mlp", mlp},
        {"resid_out", in + attention + mlp},
        {"neurons", {{{"neuron", 11}, {"down_in", 40.0}, {"weight", -2.5}, {"product", -100.0}}}}};
  };
  ordered_json module = {{"score", 321.0}, {"axis", "column"}, {"index", 11}};
  ordered_json r;
  r["model"] = {{"name", "tiny"}, {"family", "llama"}, {"format", "gguf"},   {"layers", 3},
                {"width", 8},     {"heads", 2},        {"parameters", 1234}, {"weight_bytes", 5000}};
  r["run"] = {{"device", "cpu"},
              {"dtype", "float32"},
              {"bos", "never"},
              {"sequences", 2},
              {"tokens_per_sequence", 100},
              {"corpus", "a book"},
              {"seconds", {{"load", 1.0}, {"forward", 2.0}, {"statistics", 0.5}, {"report", 0.0}}},
              {"peak_host_bytes", 2000000},
              {"peak_device_bytes", 0}};
  r["prompt"] = {
      {"text", "Hi there"}, {"ids", {1, 2}}, {"tokens", {"Hi", " there"}}, {"classes", {"initial", "other"}}};
  r["activations"]["prompt"]["resid_out"] = {layer(0, 500, 0.25), layer(1, 1199, 0.5), layer(2, 30, 0.5)};
  r["activations"]["corpus"]["resid_out"] = r["activations"]["prompt"]["resid_out"];
  r["weights"] = {{{"layer", 0}, {"modules", {{"down", module}}}}};
  r["attention"]["corpus"] = {
      {{"layer", 0},
       {"top_keys",
        {{{"sequence", 0}, {"key", 0}, {"score", 60.0}, {"token_text", "Hi"}, {"class", "initial"}}}},
       {"heads", {{{"head", 0}, {"outlier_share", 0.6}, {"sink_rate", 0.5}}}},
       {"outlier_keys", {{{"class", "initial"}}}}}};
  r["writes"] = {{{"layer", 0}, {"largest", write(0.1, 0, -500.1)}},
                 {{"layer", 1}, {"largest", write(-500, 0, -699)}, {"followed", write(-500, 0, -699)}},
                 {{"layer", 2}, {"largest", write(1, 2, 27)}, {"followed", write(-1199, 0, 1180)}}};
  r["summary"] = {{"found", true},
                  {"born_layer", 0},
                  {"peak_layer", 1},
                  {"removed_layer", 2},
                  {"massive_channels", {7}},
                  {"massive_tokens", {{{"token", 0}, {"text", "Hi"}, {"first_layer", 0}, {"last_layer", 1}}}},
                  {"alignment", {{"weight_activation", 1.0}, {"activation_attention", nullptr}}},
                  {"headroom",
                   {{"resid_out",
                     {{"layer", 1},
                      {"max", 1199.0},
                      {"of_fp16_max", 0.0183},
                      {"of_fp8_e4m3_max", 2.68},
                      {"int8_step_over_median", 18.9}}}}}};
  return r;
}

TEST(SummaryText, ReadsLikeAnAnswer) {
  const std::string text = summary_text(results(), 100);
  // Folding may break a line anywhere.
  std::string flat;
  for (const char c : text) {
    if (c == '\n')
      flat += ' ';
    else if (c != ' ' || flat.empty() || flat.back() != ' ')
      flat += c;
  }
  EXPECT_THAT(flat, HasSubstr("in layer 0: mlp.down_proj column 11 (down_in 40.0) writes channel 7 of the "
                              "initial token \"Hi\": 500 where the median is 0.25"));
  EXPECT_THAT(flat, HasSubstr("to layer 1, largest in layer 1: 1,199 in channel 7"));
  EXPECT_THAT(flat, HasSubstr("in layer 2: the MLP adds 1,180"));
  EXPECT_THAT(flat, HasSubstr("321 at layer 0 down column 11"));
  EXPECT_THAT(flat, HasSubstr("60 % of its sequence's probability"));
  EXPECT_THAT(flat, Not(HasSubstr("warning")));
}

TEST(SummaryText, NamesExperts) {
  ordered_json r = results();
  r["model"]["experts"] = {{"count", 8}};
  r["writes"][0]["largest"]["neurons"][0]["expert"] = 5;
  r["writes"][2]["followed"]["neurons"][0]["expert"] = "shared";
  r["weights"][0]["modules"]["down"]["expert"] = 3;
  std::string text = summary_text(r, 100);
  std::replace(text.begin(), text.end(), '\n', ' ');
  for (size_t at = text.find("  "); at != std::string::npos; at = text.find("  ")) text.erase(at, 1);
  EXPECT_THAT(text, HasSubstr("3 layers of 8 experts"));
  EXPECT_THAT(text, HasSubstr("in layer 0: expert 5's down_proj column 11 (down_in 40.0) writes channel 7"));
  EXPECT_THAT(text, HasSubstr("led by down_in neuron 11 of the shared expert (40.0 x -2.50)"));
  EXPECT_THAT(text, HasSubstr("321 at layer 0 expert 3's down column 11"));
}

size_t widest_line(const std::string& text) {
  size_t widest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, display_width(line));
  return widest;
}

TEST(SummaryText, FitsOneScreen) {
  const std::string text = summary_text(results(), 80);
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 26);
  for (const size_t width : {40, 41, 60, 80, 100, 200})
    EXPECT_LE(widest_line(summary_text(results(), width)), width);
}

TEST(SummaryText, TheStripOfManyLayersTakesRows) {
  ordered_json r = results();
  r["model"]["name"] = std::string(70, 'n');
  r["run"]["corpus"] = "/a/path/" + std::string(60, 'c') + "/日本語日本語日本語日本語日本語日本語.txt";
  ordered_json& layers = r["activations"]["prompt"]["resid_out"];
  while (layers.size() < 48) layers.push_back(layers[0]);
  const std::string text = summary_text(r, 40);
  EXPECT_EQ(widest_line(text), 40u);
  EXPECT_THAT(text, HasSubstr("\n            layer  0 "));
  EXPECT_THAT(text, HasSubstr("\n            layer 32 "));
  EXPECT_THAT(text, HasSubstr("▆ 47\n            max of the residual stream,\n            log scale\n"));
}

/// The model of results() whose layer 1 is not finite.
ordered_json ending() {
  ordered_json r = results();
  const ordered_json place = {
      {"sequence", 0}, {"token", 0}, {"channel", 3}, {"token_text", "Hi"}, {"class", "initial"}};
  ordered_json first = {{"layer", 1}, {"point", "down_out"}, {"value", "Inf"}, {"batch", "prompt"}};
  first.update(place);
  first["before"] = {{"layer", 1}, {"point", "down_in"}, {"value", -449.0}};
  first["before"].update(place);
  r["summary"]["first_nonfinite"] = first;
  for (size_t l : {1, 2}) {
    r["activations"]["prompt"]["resid_out"][l]["nonfinite"] = 4;
    for (const char* part : {"mlp", "resid_out"}) r["writes"][l]["largest"][part] = NAN;
  }
  r["summary"]["peak_layer"] = 0;
  r["summary"]["removed_layer"] = nullptr;
  r["summary"]["headroom"]["resid_out"]["layer"] = 0;
  r["summary"]["headroom"]["resid_out"]["nonfinite"] = 8;
  return r;
}

TEST(SummaryText, EndsWhereValuesAreNotFinite) {
  const std::string text = summary_text(ending(), 1000);
  EXPECT_THAT(
      text,
      HasSubstr("not finite  Inf in layer 1, down_out: channel 3 of the initial token \"Hi\" of the prompt; "
                "before it down_in of layer 1 reaches 449 in neuron 3"));
  EXPECT_THAT(text, HasSubstr("born        in layer 0: "));
  EXPECT_THAT(
      text,
      HasSubstr("carried     to layer 0 at least, largest in layer 0: 500 in channel 7 of the initial token "
                "\"Hi\"; what follows cannot be told"));
  EXPECT_THAT(text, HasSubstr("removed     cannot be told"));
  EXPECT_THAT(text, HasSubstr("layer 0 ▁·· 2"));
  EXPECT_THAT(
      text,
      HasSubstr("resid_out is not finite from layer 1 on (8 values); before it reaches 1,199 in layer 0"));
  EXPECT_THAT(text, Not(testing::ContainsRegex("(nan|not finite) x|adds (-?nan|not finite)")));
}

TEST(SummaryText, TellsNothingWhereTheFirstLayerIsNotFinite) {
  ordered_json r = ending();
  r["summary"]["first_nonfinite"]["layer"] = 0;
  r["summary"]["first_nonfinite"]["before"] = nullptr;
  r["summary"]["found"] = false;
  for (const char* layer : {"born_layer", "peak_layer"}) r["summary"][layer] = nullptr;
  r["summary"]["headroom"]["resid_out"] = nullptr;
  const std::string text = summary_text(r, 1000);
  for (const char* line :
       {"born        cannot be told", "carried     cannot be told", "removed     cannot be told",
        "massive     cannot be told", "attention   cannot be told", "alignment   cannot be told",
        "head-room   resid_out cannot be told"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, HasSubstr("321 at layer 0 down column 11"));
}

TEST(SummaryText, SaysWhenThereIsNothing) {
  ordered_json r = results();
  r["summary"]["found"] = false;
  r["summary"]["massive_channels"] = r["summary"]["massive_tokens"] = ordered_json::array();
  EXPECT_THAT(summary_text(r, 100), HasSubstr("none: no value of the residual stream exceeds 2,398 medians"));
}

TEST(SummaryText, CountsNonfiniteValues) {
  ordered_json r = results();
  r["activations"]["corpus"]["resid_out"][1]["nonfinite"] = 12;
  EXPECT_THAT(summary_text(r, 100), HasSubstr("12 activations are NaN or infinite"));
}

}  // namespace
}  // namespace outliers::report
