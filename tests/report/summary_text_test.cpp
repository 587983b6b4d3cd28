#include "outliers/report/summary_text.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <gmock/gmock.h>

#include "outliers/core/display.h"

namespace outliers::report {
namespace {

using testing::HasSubstr;
using testing::Not;

results::Activations layer(double max, double median) {
  results::Activations x;
  x.max = max;
  x.median = median;
  x.top = {{.value = -max, .channel = 7, .expert = {}, .token_text = {}, .token_class = {}}};
  return x;
}

results::Write write(double in, double attention, double mlp) {
  return {0, 7, in, attention, mlp, in + attention + mlp, {{11, 40.0, -2.5, -100.0, {}, {}}}};
}

// A three-layer model: born in layer 0, carried to layer 1, removed in layer 2.
results::Results results() {
  results::Results r;
  r.model = {.name = "tiny",
             .family = "llama",
             .format = "gguf",
             .layers = 3,
             .width = 8,
             .heads = 2,
             .mlp_width = 16,
             .parameters = 1234,
             .weight_bytes = 5000,
             .vision = {},
             .experts = {}};
  r.run.device = "cpu";
  r.run.dtype = "float32";
  r.run.bos = "never";
  r.run.measures = {"activations", "attention", "weights", "writes", "alignment"};
  r.run.seconds = {1.0, 2.0, 0.5, 0.0};
  r.run.peak_host_bytes = 2000000;
  r.inputs = {{.name = "prompt",
               .kind = results::InputKind::prompt,
               .source = "Hi there",
               .tokens_per_sequence = 2,
               .ids = {1, 2},
               .tokens = {"Hi", " there"},
               .classes = {"initial", "other"},
               .embedding = {},
               .amax = {}},
              {.name = "corpus",
               .source = "a book",
               .sequences = 2,
               .tokens_per_sequence = 100,
               .ids = {},
               .tokens = {},
               .classes = {},
               .embedding = {},
               .amax = {}}};
  const double maxima[] = {500, 1199, 30}, medians[] = {0.25, 0.5, 0.5};
  const results::Writes writes[] = {{write(0.1, 0, -500.1), {}},
                                    {write(-500, 0, -699), write(-500, 0, -699)},
                                    {write(1, 2, 27), write(-1199, 0, 1180)}};
  for (size_t l = 0; l < 3; ++l) {
    results::Layer& one = r.layers.emplace_back();
    one.layer = static_cast<int64_t>(l);
    one.weights.emplace().modules["down"].score = l == 0 ? 321 : NAN;
    one.weights->modules["down"].index = 11;
    for (const results::Input& input : r.inputs) {
      results::LayerInput& x = one.inputs[input.name];
      x.resid_out = layer(maxima[l], medians[l]);
      if (input.is_prompt()) x.writes = writes[l];
    }
    results::Attention& attention = one.inputs["corpus"].attention.emplace();
    attention.heads = {{0, 0.6, 0.5}};
    if (l > 0) continue;
    attention.top_keys = {{.score = 60.0, .token_text = "Hi", .token_class = "initial"}};
    attention.outlier_keys = attention.top_keys;
  }
  results::Life& life = r.summary.lives.emplace_back();
  life.input = "prompt";
  life.found = true;
  life.born_layer = 0;
  life.peak_layer = 1;
  life.removed_layer = 2;
  life.massive_channels = {7};
  life.massive_tokens = {{0, "Hi", "initial", 0, 1}};
  r.summary.alignment.weight_activation = 1.0;
  results::Headroom& room = r.summary.headroom["resid_out"].emplace();
  room.layer = 1;
  room.max = 1199;
  room.of_fp16_max = 0.0183;
  room.of_fp8_e4m3_max = 2.68;
  room.int8_step_over_median = 18.9;
  return r;
}

results::LayerInput& prompt(results::Results& r, size_t layer) {
  return *r.layers[layer].inputs.find("prompt");
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
  results::Results r = results();
  r.model.experts.emplace().count = 8;
  prompt(r, 0).writes->largest.neurons[0].expert = results::Expert{5};
  prompt(r, 2).writes->followed->neurons[0].expert = results::Expert{results::Expert::kShared};
  r.layers[0].weights->modules["down"].expert = results::Expert{3};
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
  results::Results r = results();
  r.model.name = std::string(70, 'n');
  r.inputs[1].source = "/a/path/" + std::string(60, 'c') + "/日本語日本語日本語日本語日本語日本語.txt";
  while (r.layers.size() < 48) r.layers.push_back(r.layers[0]);
  const std::string text = summary_text(r, 40);
  EXPECT_EQ(widest_line(text), 40u);
  EXPECT_THAT(text, HasSubstr("\n            layer  0 "));
  EXPECT_THAT(text, HasSubstr("\n            layer 32 "));
  EXPECT_THAT(text, HasSubstr("▆ 47\n            max of the residual stream,\n            log scale\n"));
}

/// The model of results() whose layer 1 is not finite.
results::Results ending() {
  results::Results r = results();
  results::FirstNonfinite& first = r.summary.first_nonfinite.emplace();
  first.layer = 1;
  first.point = "down_out";
  first.value = "Inf";
  first.input = "prompt";
  first.channel = 3;
  first.token_text = "Hi";
  first.token_class = "initial";
  first.before = results::Before{1, "down_in", -449.0, 0, 0, 3, {}, "Hi", "initial"};
  for (size_t l : {1, 2}) {
    prompt(r, l).resid_out->nonfinite = 4;
    prompt(r, l).writes->largest.mlp = prompt(r, l).writes->largest.resid_out = NAN;
  }
  r.summary.lives[0].peak_layer = 0;
  r.summary.lives[0].removed_layer.reset();
  r.summary.headroom["resid_out"]->layer = 0;
  r.summary.headroom["resid_out"]->nonfinite = 8;
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
  results::Results r = ending();
  r.summary.first_nonfinite->layer = 0;
  r.summary.first_nonfinite->before.reset();
  results::Life& life = r.summary.lives[0];
  life.found = false;
  life.born_layer.reset();
  life.peak_layer.reset();
  r.summary.headroom["resid_out"].reset();
  const std::string text = summary_text(r, 1000);
  for (const char* line :
       {"born        cannot be told", "carried     cannot be told", "removed     cannot be told",
        "massive     cannot be told", "attention   cannot be told", "alignment   cannot be told",
        "head-room   resid_out cannot be told"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, HasSubstr("321 at layer 0 down column 11"));
}

TEST(SummaryText, TellsWhereValuesFirstPassAFormat) {
  results::Results r = results();
  EXPECT_THAT(summary_text(r, 1000), Not(HasSubstr("overflow    ")));
  auto& first = r.summary.first_overflow;
  for (const char* name : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2"}) first[name];
  EXPECT_THAT(summary_text(r, 1000),
              HasSubstr("overflow    no value is past float16, bfloat16, float8 e4m3, float8 e5m2\n"));
  results::Overflow& e4m3 = first["fp8_e4m3"].emplace();
  e4m3.layer = 1;
  e4m3.point = "experts.up_out";
  e4m3.value = -612;
  e4m3.largest = 448;
  e4m3.input = "prompt";
  e4m3.token = 0;
  e4m3.expert = results::Expert{3};
  e4m3.token_text = "Hi";
  e4m3.token_class = "initial";
  results::Overflow& fp16 = first["fp16"].emplace();
  fp16.point = "logits";
  fp16.value = 70000;
  fp16.largest = 65504;
  fp16.input = "corpus";
  fp16.head = 5;
  EXPECT_THAT(
      summary_text(r, 1000),
      HasSubstr("overflow    past float16's 65,504 first after the last layer: logits 70,000 of head 5 "
                "(corpus); past float8 e4m3's 448 first in layer 1: expert 3's experts.up_out 612 of "
                "the initial token \"Hi\" (prompt); no value is past bfloat16, float8 e5m2\n"));
}

TEST(SummaryText, TellsWhatFormatsLose) {
  results::Results r = results();
  r.layers[0].inputs["prompt"].rounding["down_in"].formats["nvfp4"] = {0.25, 0.5, 0.9};
  r.layers[2].inputs["corpus"].rounding["o_in"].formats["nvfp4"] = {0.125, 0.75, 0.1};
  r.layers[1].rounding["up"].formats["int8_tensor"] = {0.01, 0, 0.1};
  EXPECT_THAT(summary_text(r, 1000),
              HasSubstr("rounding    relative error of what linear layers read at most NVFP4 25 % (layer 0 "
                        "down_in); NVFP4 makes 75 % of the values 0 in layer 2 o_in; of weights at most int8 "
                        "per tensor 1.0 % (layer 1 up)\n"));
}

TEST(SummaryText, SaysWhenThereIsNothing) {
  results::Results r = results();
  results::Life& life = r.summary.lives[0];
  life.found = false;
  life.massive_channels.clear();
  life.massive_tokens.clear();
  r.criteria.massive_ratio = 2000;
  const std::string text = summary_text(r, 200);
  EXPECT_THAT(text, HasSubstr("none: no value of the residual stream exceeds 2,398 medians"));
  EXPECT_THAT(text, HasSubstr("no activation is above 100 and above 2,000 medians"));
}

TEST(SummaryText, CountsNonfiniteValues) {
  results::Results r = results();
  r.layers[1].inputs["corpus"].resid_out->nonfinite = 12;
  EXPECT_THAT(summary_text(r, 100), HasSubstr("12 activations are NaN or infinite"));
}

TEST(SummaryText, TellsOfEachPromptAndCorpus) {
  results::Results r = results();
  for (const size_t like : {0, 1}) {
    results::Input input = r.inputs[like];
    input.source = like == 0 ? "Another" : "a newspaper";
    input.name += "2";
    r.inputs.push_back(input);
    for (results::Layer& layer : r.layers) {
      const results::LayerInput copy = layer.inputs[r.inputs[like].name];
      layer.inputs[input.name] = copy;
    }
  }
  results::Life life = r.summary.lives[0];
  life.input = "prompt2";
  life.born_layer = 1;
  life.removed_layer.reset();
  life.massive_channels = {5};
  r.summary.lives.push_back(life);
  r.layers[0].inputs["corpus2"].attention->top_keys[0].score = 80;
  const std::string text = summary_text(r, 1000);
  EXPECT_THAT(text,
              HasSubstr("prompt \"Hi there\" (2 tokens) and 1 more, 2 x 100 tokens of a book and 2 x 100 "
                        "tokens of a newspaper, BOS never"));
  EXPECT_THAT(text, HasSubstr("\nborn        in layer 0: "));
  EXPECT_THAT(
      text,
      HasSubstr("\nprompt2     \"Another\" (2 tokens): born in layer 1 of 3, largest in 1 (1,199, 2,398 "
                "medians), removed by no layer; massive channels 5; tokens 0 \"Hi\" (layers 0-1)"));
  EXPECT_THAT(text, HasSubstr("\nattention   layer 0: one key (\"Hi\") receives 60 %"));
  EXPECT_THAT(text, HasSubstr("\nattention   of corpus2, layer 0: one key (\"Hi\") receives 80 %"));
}

/// What stands behind the label.
std::string text_of(const results::Results& r, const std::string& label) {
  for (const SummaryLine& line : summary_lines(r)) {
    if (line.label == label) return line.text;
  }
  return "";
}

TEST(SummaryText, AlignmentIsOfTheLayersWithOutliersAndOfAll) {
  results::Results r = results();
  const std::string same = "the top weight column is the top down_in channel in ";
  r.summary.alignment.weight_activation = 0.25;
  EXPECT_EQ(text_of(r, "alignment"), same + "25 % of all layers");  // of an older report
  results::OutlierLayers& of = r.summary.alignment.outlier_layers.emplace();
  EXPECT_EQ(text_of(r, "alignment"),
            "no layer's down_in has a value above 1,000 means; " + same + "25 % of all layers");

  of.layers.resize(2);
  for (results::OutlierLayer& layer : of.layers) layer.input = "corpus";
  of.layers[0].aligned = true;
  results::OutlierLayer& other = of.layers[1];
  other.layer = 2;
  other.top_weight = {7, {}, 198, 6, 3, 1000.0, 6000.0};
  other.top_activation = {9, {}, 195, 6, 3, 3000.0, 18000.0};
  other.top_product = {8, {}, 20, -9, 5, 2500.0, 22500.0};
  EXPECT_EQ(text_of(r, "alignment"),
            same +
                "1 of the 2 layers with values above 1,000 means there (0, 2), in 25 % of all layers; not in "
                "layer 2: the top weight is in column 7 (max/mean 198), whose neuron reaches 1,000; neuron 9 "
                "(195) reaches 3,000; the most is written by neuron 8, 22,500 to channel 5");

  other.top_weight.expert = results::Expert{4};
  other.top_weight.down_in.reset();
  r.inputs.push_back(r.inputs[1]);
  r.inputs[2].name = "corpus2";
  for (results::Layer& layer : r.layers) {
    const results::LayerInput copy = *layer.inputs.find("corpus");
    layer.inputs["corpus2"] = copy;
  }
  other.input = "corpus2";
  EXPECT_THAT(text_of(r, "alignment"), HasSubstr("there (0 (corpus), 2 (corpus2)), in"));
  EXPECT_THAT(
      text_of(r, "alignment"),
      HasSubstr(
          "not in layer 2 (corpus2): the top weight is in expert 4's column 7 (max/mean 198); neuron 9"));
}

std::vector<std::string> labels(const results::Results& r) {
  std::vector<std::string> list;
  for (const SummaryLine& line : summary_lines(r)) list.push_back(line.label);
  return list;
}

TEST(SummaryText, LeavesOutWhatWasNotMeasured) {
  using testing::ElementsAre;
  results::Results r = results();
  EXPECT_THAT(labels(r), ElementsAre("measured", "born", "carried", "removed", "", "massive", "weights",
                                     "attention", "alignment", "head-room", "cost"));
  for (results::Layer& layer : r.layers) {
    for (auto& [name, x] : layer.inputs) x.writes.reset();
  }
  EXPECT_THAT(
      summary_text(r, 1000),
      HasSubstr(
          "born        in layer 0: channel 7 of the initial token \"Hi\": 500 where the median is 0.25"));
  for (results::Layer& layer : r.layers) {
    layer.weights.reset();
    for (auto& [name, x] : layer.inputs) x.resid_out.reset();
  }
  r.summary.lives.clear();
  r.summary.headroom = {};
  r.run.measures = {"attention"};
  EXPECT_THAT(labels(r), ElementsAre("measured", "", "attention", "cost"));
  EXPECT_THAT(summary_text(r, 80), Not(HasSubstr("log scale")));
  for (results::Layer& layer : r.layers) {
    for (auto& [name, x] : layer.inputs) x.attention.reset();
  }
  EXPECT_THAT(labels(r), ElementsAre("measured", "", "cost"));
}

}  // namespace
}  // namespace outliers::report
