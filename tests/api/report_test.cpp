// Surveys to reports and back, by outliers.h alone.
#include <algorithm>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/io/npz.h"
#include "outliers/outliers.h"

#include "npy.h"
#include "support.h"

namespace outliers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A tiny model of text with a tokenizer beside it.
class ApiReportTest : public testing::Test {
 protected:
  ApiReportTest() {
    const std::filesystem::path golden = tests::golden("models/llama_smollm");
    for (const char* file : {"config.json", "model.safetensors"})
      std::filesystem::copy(golden / file, scratch_ / file);
    std::filesystem::copy(tests::golden("text/small_byte_level.json"), scratch_ / "tokenizer.json");
  }
  Model open() const { return Model::open(scratch_.path().string()); }

  const tests::ScratchDirectory scratch_;
};

/// Keeps the first input's and the branches' last layer.
class LastLayer : public run::Observer {
 public:
  explicit LastLayer(int64_t layers) : site_{layers - 1, run::Point::resid_out} {}
  bool wants(const run::Site& site, size_t) const override { return site == site_; }
  void on_point(const run::Site&, const run::Slice& slice, const at::Tensor& x) override {
    if (of.size() <= slice.input) of.resize(slice.input + 1);
    of[slice.input] = x;
  }
  std::vector<at::Tensor> of;

 private:
  run::Site site_;
};

TEST_F(ApiReportTest, EditsByClassNeedNoClassesOfTheCaller) {
  const Model model = open();
  const Session session;
  const auto branch = [&](const char* edits) {
    return run::Input{.name = edits, .parent = 0, .edits = run::parse_edits(edits, model.config())};
  };
  LastLayer last(model.config().layers);
  session.forward(model,
                  {model.ids({5, 6, 7, 8}), branch("layer.0.resid_out[token=initial]=zero"),
                   branch("layer.0.resid_out[token=0]=zero")},
                  {&last});
  ASSERT_EQ(last.of.size(), 3u);
  EXPECT_TRUE(last.of[1].equal(last.of[2]));
  EXPECT_FALSE(last.of[1].equal(last.of[0]));

  run::Input input = model.ids({5, 6, 7, 8});
  input.edits = run::parse_edits("layer.0.resid_out[token=initial]=zero", model.config());
  session.capture(model, input, "layer.-1.resid_out", scratch_ / "edited.npz");
  EXPECT_TRUE(io::NpzReader(scratch_ / "edited.npz").read("layer.1.resid_out").equal(last.of[1]));
}

TEST_F(ApiReportTest, CapturesCompare) {
  const Model model = open();
  const Session session;
  const auto capture = [&](const char* file, const char* edits) {
    run::Input input = model.ids({5, 6, 7});
    if (*edits != '\0') input.edits = run::parse_edits(edits, model.config());
    return session.capture(model, input, "layer.*.resid_out", scratch_ / file);
  };
  EXPECT_EQ(capture("a.npz", "").size(), 2u);
  capture("b.safetensors", "");
  capture("c.npz", "layer.1.resid_out[token=1]=zero");
  const auto same = run::compare_captures(scratch_ / "a.npz", scratch_ / "b.safetensors");
  EXPECT_EQ(same.first, -1);
  EXPECT_EQ(run::first_difference(same), "");
  EXPECT_THAT(run::comparison_text(same, 0), HasSubstr("all 2 points are within tolerance"));
  const auto other = run::compare_captures(scratch_ / "a.npz", scratch_ / "c.npz");
  EXPECT_THAT(run::first_difference(other),
              HasSubstr("layer.1.resid_out is the first point above tolerance"));
  EXPECT_THAT(run::comparison_json(other), HasSubstr("\"first\": \"layer.1.resid_out\""));
}

TEST(ApiReport, IsWrittenReadBackAndCompared) {
  const tests::ScratchDirectory scratch;
  const std::filesystem::path golden = tests::golden("models/dinov2_with_registers_shrunk");
  const Model model = Model::open(golden.string());
  EXPECT_TRUE(model.reads_images());
  const Session session;
  SurveyOptions options;
  options.measures = {"activations"};
  tests::write_file(scratch / "images.npy",
                    tests::npy(io::NpzReader(golden / "reference.npz").read("pixel_values")));
  options.images = {scratch / "images.npy"};
  ReportDirectory place(scratch / "a");
  EXPECT_FALSE(std::filesystem::exists(scratch / "a"));
  const Survey survey = session.survey(model, options);
  EXPECT_THAT(place.write(survey, {.figures = false}),
              ElementsAre("index.html", "results.json", "arrays.npz"));
  EXPECT_THAT(survey.write(scratch / "b", {.page = false, .figures = false}),
              ElementsAre("results.json", "arrays.npz"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "b/index.html"));

  const Report report = Report::open(scratch / "b");
  EXPECT_EQ(results::to_text(report.results()), results::to_text(survey.results));
  EXPECT_EQ(summary_text(report.results()), summary_text(survey.results));
  EXPECT_FALSE(report.figure_names().empty());
  const auto wanted = std::find_if(survey.arrays.begin(), survey.arrays.end(), [](const auto& array) {
    return array.first == "corpus.resid_out.channel_max";
  });
  ASSERT_NE(wanted, survey.arrays.end());
  EXPECT_TRUE(report.array("resid_out.channel_max", "corpus").equal(wanted->second));
  EXPECT_THROW(report.array("resid_out", "prompt"), Error);  // was not measured
  FigureOptions figures;
  figures.palette = "abacus";
  EXPECT_THROW(report.draw(figures), Error);
  report.write_page();
  EXPECT_TRUE(std::filesystem::exists(scratch / "b/index.html"));

  const Comparison comparison({scratch / "a", scratch / "b"});
  comparison.write(scratch / "both");
  EXPECT_EQ(tests::read_file(scratch / "both/comparison.json"), comparison.json());
  EXPECT_THROW(comparison.write(scratch / "both"), Error);
  comparison.write(scratch / "both", true);
}

ErrorKind kind_of(const std::filesystem::path& rules) {
  try {
    Rules::read(rules);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::usage;
}

TEST(ApiReport, IsJudgedByRules) {
  const tests::ScratchDirectory scratch;
  const std::filesystem::path golden = tests::golden("models/dinov2_with_registers_shrunk");
  const Model model = Model::open(golden.string());
  const Session session;
  tests::write_file(scratch / "images.npy",
                    tests::npy(io::NpzReader(golden / "reference.npz").read("pixel_values")));
  tests::write_file(scratch / "rules.toml",
                    "[[rule]]\nid = \"tails\"\nmetric = \"kurtosis\"\nat = [\"down_in\"]\nbad = \"above\"\n"
                    "warning = 0\ntitle = \"{at} in {layers}\"\ntext = \"{value}\"\n");
  SurveyOptions options;
  options.images = {scratch / "images.npy"};
  options.rules = Rules::read(scratch / "rules.toml");
  options.measures = options.rules.measures(model);
  EXPECT_THAT(options.measures, ElementsAre("activations"));
  const Survey survey = session.survey(model, options);
  ASSERT_TRUE(survey.results.findings.has_value());
  const std::vector<results::Finding>& found = *survey.results.findings;
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, results::Severity::warning);
  EXPECT_EQ(found[0].place.point, "down_in");
  EXPECT_EQ(found[0].place.layers.size(), static_cast<size_t>(model.config().layers));
  EXPECT_THAT(findings_text(found), HasSubstr("warning     down_in in layers 0-"));
  EXPECT_EQ(results::to_text(options.rules.findings(survey.results)), results::to_text(found));

  survey.write(scratch / "report", {.page = false, .figures = false});
  EXPECT_TRUE(Report::is_at(scratch / "report"));
  EXPECT_FALSE(Report::is_at(golden));
  EXPECT_FALSE(Report::is_at(scratch / "nowhere"));
  EXPECT_EQ(results::to_text(*Report::open(scratch / "report").results().findings), results::to_text(found));

  const std::vector<std::string> built_in = Rules().measures(model);
  EXPECT_THAT(built_in, testing::IsSupersetOf({"activations", "weights", "norms"}));
  EXPECT_THAT(built_in, testing::Not(testing::Contains("experts")));  // the model has none
  tests::write_file(scratch / "built_in.toml", Rules::built_in_text());
  EXPECT_EQ(Rules::read(scratch / "built_in.toml").measures(model), built_in);

  tests::write_file(scratch / "bad.toml", "rule");
  EXPECT_EQ(kind_of(scratch / "bad.toml"), ErrorKind::input);
  EXPECT_EQ(kind_of(scratch / "nowhere.toml"), ErrorKind::file);
}

TEST_F(ApiReportTest, InterventionsAreReadBackAndDrawn) {
  auto letters = nlohmann::json::parse(tests::read_file(tests::golden("text/small_byte_level.json")));
  letters["model"]["merges"] = nlohmann::json::array();  // so that the model has all ids of the text
  tests::write_file(scratch_ / "tokenizer.json", letters.dump());
  const Model model = open();
  const Session session;
  InterventionOptions options;
  options.edits = {"layer.0.resid_out[channel=1]=zero"};
  options.controls = 1;
  tests::write_file(scratch_ / "digits.txt", "0123456789.ABCDEFG,HIJKLMNO;9876543210");
  options.windows.corpora = {scratch_ / "digits.txt"};
  options.windows.bos = eval::BosPlace::never;
  options.windows.context = 8;
  options.windows.sequences = 2;
  const results::Interventions found = session.intervene(model, options);
  const std::filesystem::path directory = scratch_ / "interventions";
  std::filesystem::create_directory(directory);
  EXPECT_FALSE(Intervention::is_at(directory));
  EXPECT_THAT(tests::error_of([&] { Intervention::open(directory); }),
              HasSubstr("it has no interventions.json; make one with outliers intervene"));
  tests::write_file(directory / "interventions.json", results::to_text(found));
  ASSERT_TRUE(Intervention::is_at(directory));
  const Intervention read = Intervention::open(directory);
  EXPECT_EQ(results::to_text(read.results()), results::to_text(found));
  EXPECT_THAT(read.write({.figures = false}), ElementsAre("index.html"));
  EXPECT_TRUE(std::filesystem::exists(directory / "index.html"));
  EXPECT_THAT(Intervention::figure_names(),
              ElementsAre("interventions_ppl", "interventions_max", "interventions_ratio"));
  EXPECT_THAT(tests::error_of([&] { read.draw({.names = {"interventions_pl"}}); }),
              HasSubstr("did you mean interventions_ppl?"));
}

}  // namespace
}  // namespace outliers
