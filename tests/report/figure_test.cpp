#include "outliers/report/figure.h"

#include <cmath>

#include <gmock/gmock.h>

#include "outliers/report/figures.h"
#include "outliers/report/format.h"
#include "outliers/report/results.h"

#include "sample_report.h"
#include "support.h"

namespace outliers::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(Figure, TokenLabels) {
  EXPECT_EQ(token_label(" warm"), "warm");
  EXPECT_EQ(token_label("\\n"), "\\n");
  EXPECT_EQ(token_label(" "), "␣");
  EXPECT_EQ(token_label("  x"), "␣x");
  EXPECT_EQ(token_label("a b"), "a␣b");
  EXPECT_EQ(token_label(""), "∅");
  EXPECT_EQ(token_label("incomprehensible"), "incompreh…");
  EXPECT_EQ(token_label("日本語日本語"), "日本語日…");  // two columns a letter
  EXPECT_EQ(display_width(token_label("日本語日本語日本語")), 9u);
  EXPECT_EQ(token_label("e\xCC\x81xxxxxxxxxxx"), "e\xCC\x81xxxxxxxx…");
}

TEST(Figure, TextsAreQuoted) {
  EXPECT_EQ(data_text("a\"b\\c"), "\"a\"\"b\\\\c\"");
  EXPECT_EQ(data_text("\n\t"), "\"\\\\n\\\\t\"");
  EXPECT_EQ(data_text("\xFF"), "\"\\\\xff\"");
  EXPECT_EQ(script_text("`a` 'b' \"c\" \\"), "'`a` ''b'' \"c\" \\'");
  EXPECT_EQ(data_number(1.5), "1.5");
  EXPECT_EQ(data_number(NAN), "NaN");
  EXPECT_EQ(data_number(-INFINITY), "NaN");
}

TEST(Figure, Ticks) {
  EXPECT_THAT(ticks(448), ElementsAre(0, 100, 200, 300, 400));
  EXPECT_THAT(ticks(1), ElementsAre(0, 0.5, 1));
  EXPECT_THAT(ticks(1900), ElementsAre(0, 500, 1000, 1500));
  EXPECT_THAT(ticks(7), ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(ticks(0), ElementsAre(0, 1));
  EXPECT_THAT(ticks(NAN), ElementsAre(0, 1));
  EXPECT_EQ(tick_text(1500), "1.5k");
  EXPECT_EQ(tick_text(100000), "100k");
  EXPECT_EQ(tick_text(0.5), "0.5");
}

TEST(Figure, ThinsOutLabelsAroundTheImportantOnes) {
  EXPECT_THAT(thin_out(3, 1), ElementsAre(true, true, true));
  EXPECT_THAT(thin_out(5, 2), ElementsAre(true, false, true, false, true));
  EXPECT_THAT(thin_out(6, 3, {1, 2}), ElementsAre(false, true, false, false, true, false));
  EXPECT_THAT(thin_out(1, 7), ElementsAre(true));
}

std::vector<std::string> schema_list(const char* pointer) {
  return results_schema().at(nlohmann::ordered_json::json_pointer(pointer)).get<std::vector<std::string>>();
}

TEST(Figure, PalettesAreComplete) {
  for (const Palette& p : palettes()) {
    EXPECT_EQ(p.series.size(), 4u);
    EXPECT_EQ(p.modules.size(),
              schema_list("/properties/weights/items/properties/modules/propertyNames/enum").size());
    EXPECT_EQ(p.classes.size(), schema_list("/$defs/class/enum").size());
  }
}

class Figures : public testing::Test {
 protected:
  std::vector<Figure> make(const tests::SampleReport& sample) {
    sample.write(scratch_ / "r");
    return make_figures(read_results(scratch_ / "r"), {});
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(Figures, LeavesOutWhatHasNothingToShow) {
  std::vector<std::string> names;
  for (const Figure& f : make(tests::sample_report())) names.push_back(f.name);
  EXPECT_THAT(names, Not(testing::Contains("pos_down_removed")));  // the sample removes nothing
  EXPECT_THAT(names, Not(testing::Contains("pos_weight_third")));  // and has two layers
  EXPECT_THAT(names,
              testing::IsSupersetOf({"exist_down", "exist_out", "pos_weight_second", "pos_attention_keys"}));
  for (const std::string& name : names) EXPECT_THAT(figure_names(), testing::Contains(name));
}

TEST_F(Figures, KeepTokensOutOfScripts) {
  tests::SampleReport sample = tests::sample_report();
  sample.json["prompt"]["tokens"] = {"SECRET0", "SECRET1", "SECRET2"};
  for (auto& layer : sample.json["attention"]["corpus"]) layer["outlier_keys"][0]["token_text"] = "SECRET3";
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
  for (const std::string& name : schema_list("/$defs/class/enum")) {
    for (auto& layer : sample.json["attention"]["corpus"]) layer["outlier_keys"][0]["class"] = name;
    EXPECT_NO_THROW(make(sample)) << name;
  }
}

TEST_F(Figures, ShowEveryPeak) {
  tests::SampleReport sample = tests::sample_report();
  const int64_t wide = 5000;
  sample.json["model"]["mlp_width"] = wide;
  for (const char* name : {"corpus.down_in.channel_max", "prompt.down_in.channel_max"})
    sample.arrays[name] = at::ones({2, wide});
  sample.arrays["prompt.down_in"] = at::zeros({2, 3, wide});
  sample.arrays["prompt.down_in"][1][2][4321] = -77;
  sample.arrays["prompt.down_in"][1][2][4322] = 33;
  sample.arrays["prompt.down_in"][1][1][4321] = NAN;
  for (const Figure& f : make(sample)) {
    if (f.name != "exist_down") continue;
    EXPECT_NE(f.data.find("\n2\t4321\t77\t"), std::string::npos);
    EXPECT_NE(f.data.find("\t\"4321\"\n"), std::string::npos);  // the channel is named
    EXPECT_EQ(f.data.find("\"4322\""), std::string::npos);  // its neighbour, part of the same peak, is not
    EXPECT_LT(std::count(f.data.begin(), f.data.end(), '\n'), 1300);
  }
}

}  // namespace
}  // namespace outliers::report
