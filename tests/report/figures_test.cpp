#include "outliers/report/figures.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/error.h"
#include "outliers/results/field.h"

#include "sample_report.h"
#include "support.h"

namespace outliers::report {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

class Figures : public testing::Test {
 protected:
  std::vector<Figure> make(const tests::SampleReport& sample, const std::vector<std::string>& names = {}) {
    sample.write(scratch_ / "r");
    return make_figures(read_results(scratch_ / "r"), names);
  }
  std::vector<std::string> names_of(const std::vector<Figure>& figures) {
    std::vector<std::string> names;
    for (const Figure& f : figures) names.push_back(f.name);
    return names;
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(Figures, LeavesOutWhatHasNothingToShow) {
  const tests::SampleReport sample = tests::sample_report();
  const std::vector<std::string> names = names_of(make(sample));
  EXPECT_THAT(names, Not(Contains("pos_down_removed")));  // the sample removes nothing
  EXPECT_THAT(names, Not(Contains("pos_weight_third")));  // and has two layers
  EXPECT_THAT(names, IsSupersetOf({"exist_down", "exist_out", "pos_weight_second", "pos_attention_keys"}));
  for (const std::string& name : names) EXPECT_THAT(figure_names(sample.data), Contains(name));
}

TEST_F(Figures, EachPromptAndCorpusHasItsOwn) {
  tests::SampleReport sample = tests::sample_report();
  const std::vector<std::string> one = names_of(make(sample));
  tests::add_input(sample, "warm", "prompt");
  tests::add_input(sample, "corpus2", "corpus");
  sample.arrays["warm.resid_out"][1][2][0] = 4321;
  const std::vector<Figure> figures = make(sample);
  const std::vector<std::string> names = names_of(figures);
  EXPECT_THAT(names, IsSupersetOf(one));
  EXPECT_THAT(names,
              IsSupersetOf({"exist_down_prompt2", "exist_attention_prompt2", "pos_out_channels_prompt2",
                            "pos_out_layers_corpus2", "pos_attention_heads_corpus2"}));
  EXPECT_THAT(names, Not(Contains("exist_weight_prompt2")));  // weights are the model's
  for (const Figure& f : figures) {
    const bool second = f.name == "exist_out_prompt2";
    if (second || f.name == "exist_out") {
      EXPECT_EQ(f.data.find("4321") != std::string::npos, second);
      EXPECT_THAT(f.settings, HasSubstr(second ? "warm, layer 1" : "prompt, layer 1"));
    }
  }
  EXPECT_THAT(names_of(make(sample, {"exist_out_prompt2"})), ElementsAre("exist_out_prompt2"));
}

TEST_F(Figures, WhatWasNotMeasuredIsNotDrawn) {
  const std::pair<const char*, std::vector<std::string>> without[] = {
      {"weights", {"exist_weight", "pos_weight_layers", "pos_weight_columns", "pos_weight_second"}},
      {"attention_maps", {"exist_attention"}},
      {"attention", {"pos_attention_layers", "pos_attention_keys", "pos_attention_heads"}},
      {"prompt_values", {"exist_down", "exist_out"}},
      {"activations", {"pos_down_layers", "pos_out_layers", "pos_out_tokens", "pos_out_channels"}}};
  for (const auto& [measure, figures] : without) {
    tests::SampleReport sample = tests::sample_report();
    std::vector<std::string> rest = names_of(make(sample));
    tests::leave_out(sample, measure);
    const std::vector<std::string> left = names_of(make(sample));
    for (const std::string& name : figures) {
      EXPECT_THAT(rest, Contains(name));
      EXPECT_THAT(left, Not(Contains(name))) << measure;
      EXPECT_THAT(tests::error_of([&] { make(sample, {name}); }),
                  HasSubstr(fmt::format("{} shows the measure {}, which this report was made without", name,
                                        measure)));
    }
    EXPECT_GE(left.size(), 9u) << measure;
  }
  tests::SampleReport nothing = tests::sample_report();
  for (const auto& [measure, figures] : without) tests::leave_out(nothing, measure);
  EXPECT_THAT(make(nothing), testing::IsEmpty());
}

TEST_F(Figures, AValueNeedsNoCodeOfItsOwn) {
  tests::SampleReport sample = tests::sample_report();
  tests::add_value(sample, "sink_mass", "[H]");
  tests::add_value(sample, "entropy", "[]");
  tests::add_value(sample, "../escape", "[]");
  tests::add_value(sample, "by_expert", "[E]");
  tests::add_value(sample, "exist_out", "[]");  // a name that is taken
  const std::vector<std::string> names = names_of(make(sample));
  EXPECT_THAT(names, IsSupersetOf({"sink_mass", "sink_mass_corpus", "entropy"}));
  EXPECT_THAT(names, Not(Contains(HasSubstr("escape"))));
  EXPECT_THAT(names, Not(Contains("by_expert")));
  EXPECT_EQ(std::count(names.begin(), names.end(), "exist_out"), 1);

  const std::vector<Figure> figures = make(sample, {"sink_mass", "entropy"});
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_THAT(figures[0].data, HasSubstr("\n1\t1\t1.1\n"));  // layer, head, value
  EXPECT_THAT(figures[0].settings, HasSubstr("Title of sink_mass"));
  EXPECT_THAT(figures[1].data, HasSubstr("\n0\t0\t0\n1\t1\t1\n"));  // layer, and a column for each input
  EXPECT_THAT(figures[1].settings, HasSubstr("'corpus'"));

  sample.at(0, "prompt").values["entropy"] = {-3};
  EXPECT_THAT(make(sample, {"entropy"})[0].settings, HasSubstr("set yrange [-3.18:1.06]"));
  sample.at(1, "prompt").values["sink_mass"] = {NAN, NAN};
  EXPECT_THAT(make(sample, {"sink_mass"})[0].data, HasSubstr("\n1\t0\tNaN\n1\t1\tNaN\n"));
}

TEST_F(Figures, UnknownNamesAreRefused) {
  EXPECT_THROW(make(tests::sample_report(), {"exist_dwn"}), UsageError);
  EXPECT_THAT(tests::error_of([&] { make(tests::sample_report(), {"exist_down_prompt2"}); }),
              HasSubstr("there is no figure exist_down_prompt2"));
}

TEST_F(Figures, KeepTokensOutOfScripts) {
  tests::SampleReport sample = tests::sample_report();
  sample.data.inputs[0].tokens = {"SECRET0", "SECRET1", "SECRET2"};
  for (size_t l : {0, 1}) sample.at(l, "corpus").attention->outlier_keys[0].token_text = "SECRET3";
  for (const Figure& f : make(sample)) {
    const std::string script = script_of(f, palettes().front());
    EXPECT_THAT(script, Not(HasSubstr("SECRET"))) << f.name;
    if (f.name == "exist_out") {
      EXPECT_THAT(f.data, HasSubstr("0\t\"SECRET0\"\n"));
    }
  }
}

TEST_F(Figures, HaveAColourForEveryClass) {
  tests::SampleReport sample = tests::sample_report();
  for (const char* name : results::kClasses) {
    for (size_t l : {0, 1}) sample.at(l, "corpus").attention->outlier_keys[0].token_class = name;
    EXPECT_NO_THROW(make(sample)) << name;
  }
}

TEST_F(Figures, MarkOutlierTokensByTheReportsCriteria) {
  tests::SampleReport sample = tests::sample_report();
  const auto outlier = [&](double max) {
    sample.arrays["prompt.resid_out.token_max"][1][0] = at::tensor({1.0, max, 1.0});
    const Figure f = make(sample, {"exist_out"}).front();
    return f.data.find("\"there\"") < f.data.find("# outliers") ? false : true;
  };
  sample.arrays["prompt.resid_out.token_max"] = at::ones({2, 1, 3});
  EXPECT_FALSE(outlier(250));  // 1,000 medians of 0.25
  EXPECT_TRUE(outlier(251));
  sample.data.criteria.massive_ratio = 2000;
  EXPECT_FALSE(outlier(251));
  sample.data.criteria.outlier_token_ratio = 500;  // means of 0.5
  EXPECT_TRUE(outlier(251));
}

TEST_F(Figures, ShowEveryPeak) {
  tests::SampleReport sample = tests::sample_report();
  const int64_t wide = 5000;
  sample.data.model.mlp_width = wide;
  for (const char* name : {"corpus.down_in.channel_max", "prompt.down_in.channel_max"})
    sample.arrays[name] = at::ones({2, wide});
  sample.arrays["prompt.down_in"] = at::zeros({2, 3, wide});
  sample.arrays["prompt.down_in"][1][2][4321] = -77;
  sample.arrays["prompt.down_in"][1][2][4322] = 33;
  sample.arrays["prompt.down_in"][1][1][4321] = NAN;
  const Figure f = make(sample, {"exist_down"}).front();
  EXPECT_NE(f.data.find("\n2\t4321\t77\t"), std::string::npos);
  EXPECT_NE(f.data.find("\t\"4321\"\n"), std::string::npos);  // the channel is named
  EXPECT_EQ(f.data.find("\"4322\""), std::string::npos);      // its neighbour, part of the same peak, is not
  EXPECT_LT(std::count(f.data.begin(), f.data.end(), '\n'), 1300);
}

}  // namespace
}  // namespace outliers::report
