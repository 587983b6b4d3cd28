// What rules find: grouping, severity and words of one that is made for it, and each built-in rule on a
// report where it has to speak and on one where none has.
#include "outliers/studies/findings.h"

#include <gmock/gmock.h>

#include "report/sample_report.h"

namespace outliers::studies {
namespace {

using results::Finding;
using results::Results;
using results::Severity;
using testing::ElementsAre;
using testing::IsEmpty;

/// A report of two layers in which nothing stands out.
Results clean() {
  Results r = tests::sample_report().data;
  for (results::Layer& layer : r.layers) {
    for (auto& [name, input] : layer.inputs) {
      for (std::optional<results::Activations>* point : {&input.resid_out, &input.down_in}) {
        results::Activations& x = **point;
        x.max = 2;
        x.median = 0.25;
        x.massive.clear();
        x.massive_count = 0;
      }
      for (results::Head& head : input.attention->heads) head.sink_rate = 0.1;
      input.attention->outlier_keys[0].key = 0;
      input.values["drain_first_token"] = {0.9, 1.1};
      if (input.writes) input.writes->largest.neurons[0].product = 1;
    }
  }
  r.summary.lives[0].found = true;
  return r;
}

results::LayerInput& corpus(Results& r, size_t layer) {
  return *r.layers[layer].inputs.find("corpus");
}

results::Activations& down_in(Results& r) {
  return *corpus(r, 1).down_in;
}

using Plant = std::function<void(Results&)>;
/// By rule, what makes it speak, and how loud.
const std::map<std::string, std::pair<Severity, Plant>> kPlanted = {
    {"not-finite",
     {Severity::severe,
      [](Results& r) {
        results::FirstNonfinite& first = r.summary.first_nonfinite.emplace();
        first.layer = 1;
        first.point = "down_out";
        first.value = "NaN";
        first.input = "corpus";
      }}},
    {"weights-not-finite",
     {Severity::severe, [](Results& r) { r.layers[0].weights->modules["q"].nonfinite = 1; }}},
    {"float16-range",
     {Severity::severe,
      [](Results& r) {
        corpus(r, 1).resid_out->max = 70000;
        corpus(r, 1).resid_out->median = 100;
      }}},
    {"massive-activations",
     {Severity::warning,
      [](Results& r) {
        results::Activations& x = *corpus(r, 1).resid_out;
        x.max = 500;
        x.massive = x.top;
        x.massive[0].token_text = "Hi";
      }}},
    {"one-neuron",
     {Severity::warning,
      [](Results& r) { r.layers[1].inputs.find("prompt")->writes->largest.neurons[0].product = -300; }}},
    {"int8-activations", {Severity::note, [](Results& r) { down_in(r).max = 0.25 * 127 * 2.1; }}},
    {"fp8-activations", {Severity::warning, [](Results& r) { down_in(r).max = 0.25 * 28700; }}},
    {"nvfp4-activations", {Severity::warning, [](Results& r) { down_in(r).max = 0.25 * 94700; }}},
    {"int8-weight-rows",
     {Severity::note, [](Results& r) { r.layers[1].weights->modules["down"].top_rows[0].ratio = 128; }}},
    {"weights-mislead",
     {Severity::note,
      [](Results& r) {
        results::OutlierLayer& layer = r.summary.alignment.outlier_layers.emplace().layers.emplace_back();
        layer.layer = 1;
        layer.input = "corpus";
        layer.top_weight.product = 3;
        layer.top_product.product = 300;
      }}},
    {"attention-sinks",
     {Severity::note, [](Results& r) { corpus(r, 1).attention->heads[0].sink_rate = 0.6; }}},
    {"later-sinks", {Severity::note, [](Results& r) { corpus(r, 1).attention->outlier_keys[0].key = 3; }}},
    {"value-drain",
     {Severity::note,
      [](Results& r) {
        corpus(r, 1).values["drain_first_token"] = {1, 0.04};
      }}},
    {"super-experts",
     {Severity::warning,
      [](Results& r) {
        r.model.experts.emplace().count = 3;
        corpus(r, 1).experts = {{{0}, 4, 1, 2}, {{1}, 4, 1, 500}, {{2}, 4, 1, 3}};
      }}},
    {"high-norm-patches",
     {Severity::note,
      [](Results& r) {
        r.summary.norms.emplace().layer = 1;
        r.summary.norms->high_share = 0.02;
        r.summary.norms->patch_max = 200;
        r.summary.norms->patch_median = 20;
      }}},
};

std::vector<std::string> ids_of(const std::vector<Finding>& findings) {
  std::vector<std::string> ids;
  for (const Finding& finding : findings) ids.push_back(finding.id);
  return ids;
}

std::vector<Rule> built_in() {
  return parse_rules(built_in_rules(), "built in");
}

TEST(BuiltInRules, SayNothingOfAReportWhereNothingStandsOut) {
  EXPECT_THAT(ids_of(findings(clean(), built_in())), IsEmpty());
  Results experts = clean();
  experts.model.experts.emplace().count = 3;
  corpus(experts, 1).experts = {{{0}, 4, 1, 2}, {{1}, 4, 1, 5}, {{2}, 4, 1, 3}};
  EXPECT_THAT(ids_of(findings(experts, built_in())), IsEmpty());
  Results aligned = clean();
  kPlanted.at("weights-mislead").second(aligned);
  aligned.summary.alignment.outlier_layers->layers[0].aligned = true;
  EXPECT_THAT(ids_of(findings(aligned, built_in())), IsEmpty());
  Results images = clean();
  for (const char* id : {"attention-sinks", "later-sinks"}) kPlanted.at(id).second(images);
  images.images.emplace();  // CLS is no first token, and there is no cache
  EXPECT_THAT(ids_of(findings(images, built_in())), IsEmpty());
  Results registers = clean();
  registers.summary.norms.emplace();
  EXPECT_THAT(ids_of(findings(registers, built_in())), IsEmpty());
}

TEST(BuiltInRules, SpeakWhereTheyHaveTo) {
  const std::vector<Rule> rules = built_in();
  std::vector<std::string> ids;
  for (const Rule& rule : rules) ids.push_back(rule.id);
  std::vector<std::string> planted;
  for (const auto& [id, plant] : kPlanted) planted.push_back(id);
  EXPECT_THAT(planted, testing::UnorderedElementsAreArray(ids));
  for (const Rule& rule : rules) {
    const auto& [severity, plant] = kPlanted.at(rule.id);
    Results r = clean();
    plant(r);
    const std::vector<Finding> found = findings(r, rules), alone = findings(r, {rule});
    EXPECT_THAT(ids_of(found), testing::Contains(rule.id));
    ASSERT_EQ(alone.size(), 1u) << rule.id;
    EXPECT_EQ(alone[0].severity, severity) << rule.id;
    EXPECT_EQ(alone[0].metric, rule.metric->name);
    EXPECT_EQ(alone[0].source, rule.source);
    for (const std::string& text : {alone[0].title, alone[0].text, alone[0].advice}) {
      EXPECT_NE(text, "") << rule.id;
      // Every word is filled in, by something.
      EXPECT_THAT(text, testing::Not(testing::ContainsRegex("[{}?]|no [a-z]+ of |not finite\\)"))) << rule.id;
    }
  }
}

/// One rule of resid_out and down_in.
std::vector<Rule> rule(const std::string& more) {
  return parse_rules("[[rule]]\nid = \"max\"\nmetric = \"max_over_median\"\n" + more, "my.toml");
}

TEST(Findings, AreOneOfAllLayersOfAPoint) {
  Results r = clean();
  for (const size_t layer : {0, 1})
    corpus(r, layer).resid_out->max = 100 * (2.0 - static_cast<double>(layer));
  r.layers[1].inputs.find("prompt")->resid_out->max = 30;
  down_in(r).max = 30;
  const std::vector<Finding> found =
      findings(r, rule("bad = \"above\"\nnote = 100\nwarning = 300\nsevere = 1000\n"
                       "title = \"{at} {value} > {threshold} in {layers}{also}\"\n"
                       "text = \"layer {layer}, {input}, channel {channel}: {max}/{median}, "
                       "{percent}\"\nadvice = \"{unclosed\""));
  ASSERT_EQ(found.size(), 2u);
  const Finding &first = found[0], &second = found[1];
  EXPECT_EQ(first.id, "max");
  EXPECT_EQ(first.severity, Severity::warning);
  EXPECT_EQ(first.value, 800);
  EXPECT_EQ(first.threshold, 300);
  EXPECT_EQ(first.place.layer, 0);
  EXPECT_THAT(first.place.layers, ElementsAre(0, 1));
  EXPECT_EQ(first.place.point, "resid_out");
  EXPECT_EQ(first.place.module, "");
  EXPECT_EQ(first.place.input, "corpus");
  EXPECT_EQ(first.place.channel, 3);
  EXPECT_EQ(first.title, "resid_out 800 > 300 in layers 0-1");
  EXPECT_EQ(first.text, "layer 0, corpus, channel 3: 200/0.25, 80000 %");
  EXPECT_EQ(first.advice, "{unclosed");
  // Only the layers that are beyond the threshold of the severity are told.
  EXPECT_EQ(second.severity, Severity::note);
  EXPECT_EQ(second.title, "down_in 120 > 100 in layer 1");
}

TEST(Findings, OfASevereOneSayWhereItIsLessBad) {
  Results r = clean();
  corpus(r, 0).resid_out->max = 100;
  corpus(r, 1).resid_out->max = 1000;
  const auto title = [&](const std::string& thresholds) {
    const std::vector<Finding> found =
        findings(r, rule("at = [\"resid_out\"]\nbad = \"above\"\ntitle = \"{layers}{also}\"\ntext = \"\"\n" +
                         thresholds));
    EXPECT_EQ(found.size(), 1u);
    return found.at(0).title;
  };
  EXPECT_EQ(title("note = 1\nwarning = 300\nsevere = 3000"), "layer 1, beyond 300 also in layer 0");
  EXPECT_EQ(title("warning = 500\nsevere = 3000"), "layer 1");
  EXPECT_EQ(title("note = 300\nsevere = 3000"), "layer 1");
  EXPECT_EQ(title("warning = 300"), "layers 0-1");
}

TEST(Findings, OfWhatIsTooSmall) {
  Results r = clean();
  corpus(r, 1).resid_out->max = 1;
  const std::vector<Finding> found =
      findings(r, rule("bad = \"below\"\nnote = 6\nsevere = 3\nat = [\"resid_out\"]\n"
                       "title = \"{layers}\"\ntext = \"{value}\""));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, Severity::note);
  EXPECT_EQ(found[0].value, 4);
  EXPECT_EQ(found[0].title, "layer 1");
}

TEST(Findings, StandInOrderOfSeverity) {
  Results r = clean();
  for (const char* id : {"attention-sinks", "one-neuron", "float16-range", "weights-not-finite"})
    kPlanted.at(id).second(r);
  EXPECT_THAT(ids_of(findings(r, built_in())),
              ElementsAre("weights-not-finite", "float16-range", "one-neuron", "attention-sinks"));
}

TEST(Findings, LeaveOutWhatIsNotFinite) {
  Results r = clean();
  for (const char* id : {"float16-range", "attention-sinks", "value-drain", "not-finite"})
    kPlanted.at(id).second(r);
  EXPECT_THAT(ids_of(findings(r, built_in())), ElementsAre("not-finite"));
  r = clean();
  down_in(r).max = 1000;
  down_in(r).median = 0;  // a ratio over it says nothing
  EXPECT_THAT(ids_of(findings(r, built_in())), IsEmpty());
}

TEST(Findings, AreOfWhatWasMeasured) {
  tests::SampleReport sample = tests::sample_report();
  for (const char* measure : {"activations", "attention", "weights", "writes"})
    tests::leave_out(sample, measure);
  EXPECT_THAT(ids_of(findings(sample.data, built_in())), IsEmpty());
}

TEST(Findings, NeedTheMeasuresOfTheirMetrics) {
  models::Config config;
  config.layers = 1;
  EXPECT_THAT(measures_of(rule("bad = \"above\"\nnote = 1\ntitle = \"a\"\ntext = \"b\""), config),
              ElementsAre("activations"));
  EXPECT_THAT(measures_of(built_in(), config),
              ElementsAre("activations", "attention", "weights", "writes", "alignment", "value_drain"));
}

}  // namespace
}  // namespace outliers::studies
