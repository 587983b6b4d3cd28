// Files of rules: what is read, what is refused and how, and what docs/rules.md says of them.
#include "outliers/studies/rules.h"

#include <set>

#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "outliers/measures/measure.h"

#include "support.h"

namespace outliers::studies {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A rule with a line more, or in the place of the one with its key.
std::string rule_with(const std::string& line) {
  const std::string key = line.substr(0, line.find_first_of(" =")), table = "[[rule]]\n";
  std::string text = table;
  for (const char* usual : {"id = \"wide\"", "metric = \"max_over_median\"", "bad = \"above\"",
                            "warning = 10", "title = \"{at} in {layers}\"", "text = \"{max} of {median}\""}) {
    if (!std::string(usual).starts_with(key + " ")) text += std::string(usual) + "\n";
  }
  return text + line + "\n";
}

std::string refusal(const std::string& text) {
  return tests::error_of([&] { parse_rules(text, "my.toml"); });
}

TEST(Rules, AreReadAsTheyStand) {
  const std::vector<Rule> rules = parse_rules(
      rule_with(
          "at = [\"down_in\"]\nnote = 1\nsevere = 1e3\nadvice = \"keep {channel}\"\nsource = \"a {paper}\""),
      "my.toml");
  ASSERT_EQ(rules.size(), 1u);
  const Rule& rule = rules[0];
  EXPECT_EQ(rule.id, "wide");
  EXPECT_EQ(rule.metric->name, "max_over_median");
  EXPECT_THAT(rule.at, ElementsAre("down_in"));
  EXPECT_TRUE(rule.above);
  EXPECT_THAT(rule.thresholds, ElementsAre(1.0, 10.0, 1000.0));
  EXPECT_EQ(rule.title, "{at} in {layers}");
  EXPECT_EQ(rule.text, "{max} of {median}");
  EXPECT_EQ(rule.advice, "keep {channel}");
  EXPECT_EQ(rule.source, "a {paper}");  // as it is
}

TEST(Rules, WhatIsWrongIsToldInALine) {
  EXPECT_EQ(refusal("[[rule]\nid = 3\n").substr(0, 34), "my.toml: line 1, column 8: no TOML");
  EXPECT_THAT(refusal("[[rule]]\nid = \"a\nb\"\n"), HasSubstr("my.toml: line 2, column"));
  EXPECT_EQ(refusal(""), "my.toml: no rules; each is a table [[rule]]");
  EXPECT_EQ(refusal("rule = 3"), "my.toml: no rules; each is a table [[rule]]");
  EXPECT_EQ(refusal("rule = [1]"), "my.toml: rule 1 is no table [[rule]]");
  EXPECT_EQ(refusal("[[rules]]\n"), "my.toml: unknown table rules; rules are [[rule]]");
  EXPECT_EQ(refusal("[[rule]]\nmetric = \"kurtosis\""), "my.toml: rule 1: there is no id");
  EXPECT_EQ(refusal(rule_with("id = 7")), "my.toml: rule 1: id is no text");
  EXPECT_EQ(refusal(rule_with("id = \"\"")), "my.toml: rule 1: the id is empty");
  EXPECT_EQ(refusal(rule_with("note = 1") + rule_with("note = 2")), "my.toml: rule wide is there twice");
  EXPECT_EQ(refusal(rule_with("warnings = 3")),
            "my.toml: rule wide: unknown key warnings; did you mean warning?");
  EXPECT_EQ(refusal(rule_with("metric = \"max_over_mediam\"")),
            "my.toml: rule wide: unknown metric max_over_mediam; did you mean max_over_median?");
  EXPECT_THAT(refusal(rule_with("metric = \"something entirely different\"")),
              HasSubstr("; metrics are layers_not_finite, "));
  EXPECT_EQ(refusal(rule_with("at = [\"down_im\"]")),
            "my.toml: rule wide: unknown place down_im; did you mean down_in?");
  EXPECT_EQ(refusal(rule_with("at = \"down_in\"")), "my.toml: rule wide: at is no list of texts");
  EXPECT_EQ(refusal(rule_with("at = [3]")), "my.toml: rule wide: at is no list of texts");
  EXPECT_EQ(refusal(rule_with("at = []")), "my.toml: rule wide: at is no list of texts");
  EXPECT_EQ(refusal(rule_with("metric = \"sink_rate\"\nat = [\"q\"]")).substr(0, 59),
            "my.toml: rule wide: at is set, but sink_rate is of no point");
  EXPECT_EQ(refusal(rule_with("bad = \"over\"")),
            "my.toml: rule wide: bad is \"over\"; it should be \"above\" or \"below\" its thresholds");
  EXPECT_EQ(refusal(rule_with("warning = \"10\"")), "my.toml: rule wide: warning is no finite number");
  EXPECT_EQ(refusal(rule_with("warning = inf")), "my.toml: rule wide: warning is no finite number");
  EXPECT_EQ(refusal(rule_with("warning = true")), "my.toml: rule wide: warning is no finite number");
  EXPECT_EQ(
      refusal(rule_with("severe = 10")),
      "my.toml: rule wide: warning is 10 and severe is 10: with bad = \"above\" severe should be larger");
  EXPECT_EQ(
      refusal(rule_with("bad = \"below\"\nsevere = 11")),
      "my.toml: rule wide: warning is 10 and severe is 11: with bad = \"below\" severe should be smaller");
  EXPECT_EQ(refusal("[[rule]]\nid = \"a\"\nmetric = \"kurtosis\"\nbad = \"above\""),
            "my.toml: rule a: there is no threshold; set one of note, warning, severe");
  EXPECT_EQ(refusal(rule_with("text = \"{medians}\"")),
            "my.toml: rule wide: unknown word medians; did you mean median?");
  EXPECT_EQ(refusal(rule_with("advice = 3")), "my.toml: rule wide: advice is no text");
}

TEST(Rules, OfAFileThatCannotBeReadSaySo) {
  const std::string error = tests::error_of([] { read_rules("/nowhere/rules.toml"); });
  EXPECT_THAT(error, HasSubstr("/nowhere/rules.toml"));
}

TEST(Rules, BuiltInHaveASource) {
  const std::vector<Rule> rules = parse_rules(built_in_rules(), "built in");
  EXPECT_GT(rules.size(), 10u);
  for (const Rule& rule : rules) {
    EXPECT_NE(rule.source, "") << rule.id;
    EXPECT_NE(rule.advice, "") << rule.id;
  }
}

/// docs/rules.md between the line `<!-- NAME -->` and the next `<!-- end -->`.
std::string table_of_docs(const std::string& name) {
  const std::string text =
      tests::read_file(std::filesystem::path(OUTLIERS_TESTS_DIR).parent_path() / "docs/rules.md");
  const size_t begin = text.find("<!-- " + name + " -->\n") + name.size() + 10;
  return text.substr(begin, text.find("<!-- end -->", begin) - begin);
}

/// But for the measures' values, which docs/measures.md lists.
TEST(RulesDocs, ListEveryMetric) {
  std::set<std::string> values;
  for (const measures::MeasureInfo& measure : measures::measure_table()) {
    for (const measures::Value& value : measure.values) values.insert(value.name);
  }
  EXPECT_TRUE(values.contains("drain_first_token"));
  std::string table = "| metric | what it is | of | words | reads |\n|---|---|---|---|---|\n";
  for (const Metric& metric : metric_table()) {
    if (values.erase(metric.name) > 0) continue;
    table += fmt::format("| `{}` | {}{} | {} | {} | {} |\n", metric.name, metric.what,
                         metric.unit.empty() ? "" : ", in " + metric.unit, fmt::join(metric.at, ", "),
                         fmt::join(metric.words, ", "), fmt::join(metric.measures, ", "));
  }
  EXPECT_EQ(table_of_docs("metrics"), table);
  EXPECT_THAT(values, testing::IsEmpty());  // each is a metric
}

TEST(RulesDocs, ListEveryWord) {
  std::string table = "| word | what stands there |\n|---|---|\n";
  for (const Word& word : common_words()) table += fmt::format("| `{{{}}}` | {} |\n", word.name, word.what);
  EXPECT_EQ(table_of_docs("words"), table);
}

}  // namespace
}  // namespace outliers::studies
