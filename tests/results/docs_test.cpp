// docs/ says what the table of fields says. `scripts/build.sh release write_results_docs` writes it anew.
#include "docs.h"

#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "support.h"

namespace outliers::results {
namespace {

using testing::HasSubstr;

std::string docs(const std::string& name) {
  return tests::read_file(std::filesystem::path(OUTLIERS_TESTS_DIR) / "../docs" / name);
}

TEST(ResultsDocs, HaveTheSchemasOfTheTable) {
  for (const tests::DocumentedFile& file : tests::kDocumentedFiles) {
    EXPECT_TRUE(docs(file.schema) == schema_text(file.file))
        << "docs/" << file.schema << " is not what the code has: scripts/build.sh release write_results_docs";
  }
}

TEST(ResultsDocs, HaveTheTablesOfTheTable) {
  for (const tests::DocumentedFile& file : tests::kDocumentedFiles) {
    const std::string text = docs(file.page);
    EXPECT_TRUE(tests::with_tables(text, file.file) == text)
        << "docs/" << file.page << " is not what the code has: scripts/build.sh release write_results_docs";
  }
  EXPECT_THAT(docs("results.md"), HasSubstr("| `sink_rate` | number or null |"));
  EXPECT_THAT(docs("perplexity.md"), HasSubstr("| `nll_standard_error` | number or null |"));
}

TEST(ResultsDocs, WantATableForEveryFieldAndAnEndForEveryTable) {
  const std::string all = "<!-- fields -->\n<!-- end -->\n";
  EXPECT_THAT(tests::with_tables(all), HasSubstr("`layers[].inputs.*.resid_out.max`"));
  EXPECT_EQ(tests::with_tables(tests::with_tables(all)), tests::with_tables(all));
  EXPECT_THAT(tests::error_of([] { tests::with_tables("<!-- fields run -->\n<!-- end -->\n"); }),
              HasSubstr("no table has schema"));
  EXPECT_THAT(tests::error_of([&] { tests::with_tables(all + "<!-- arrays -->\n"); }),
              HasSubstr("the last table has no <!-- end -->"));
  EXPECT_THAT(tests::error_of([&] { tests::with_tables(all + "<!-- end -->\n"); }),
              HasSubstr("<!-- end --> without a beginning"));
  EXPECT_THAT(tests::error_of([&] { tests::with_tables(all + "<!-- fields x -->\n<!-- end -->\n"); }),
              HasSubstr("there are no fields below x"));
}

TEST(Schema, IsStrictWhereTheReaderIs) {
  const auto schema = nlohmann::json::parse(schema_text());
  const auto& properties = schema["properties"];
  EXPECT_EQ(properties["schema"]["const"], kSchema);
  EXPECT_EQ(properties["run"]["properties"]["device"]["pattern"], "^(cpu|cuda(:[0-9]+)?)$");
  EXPECT_EQ(properties["run"]["properties"]["seed"]["maximum"], 9007199254740991);
  const auto& layer = properties["layers"]["items"]["properties"];
  const auto& point = layer["inputs"]["additionalProperties"]["properties"]["resid_out"];
  EXPECT_EQ(point["properties"]["top3_mean"]["maxItems"], 3);
  EXPECT_EQ(point["properties"]["max"]["type"], (nlohmann::json{"number", "null"}));
  EXPECT_THAT(point["properties"]["massive"]["description"].get<std::string>(),
              HasSubstr("abs x > criteria.massive_above"));
  EXPECT_EQ(layer["weights"]["properties"]["modules"]["propertyNames"]["enum"].size(), 7);
  const auto& headroom = properties["summary"]["properties"]["headroom"]["additionalProperties"]["anyOf"];
  EXPECT_EQ(headroom[1]["type"], "null");
  // Lists that may be empty are left out then, and so not required.
  const auto& required = layer["inputs"]["additionalProperties"]["required"];
  EXPECT_EQ(required, nlohmann::json::array());
  EXPECT_THAT(
      properties["summary"]["required"].get<std::vector<std::string>>(),
      testing::UnorderedElementsAre("first_nonfinite", "lives", "alignment", "sink_rate", "headroom"));
}

}  // namespace
}  // namespace outliers::results
