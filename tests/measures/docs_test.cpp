// docs/measures.md against the table of measures.
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "outliers/core/formats.h"
#include "outliers/measures/measure.h"
#include "outliers/results/field.h"

#include "support.h"

namespace outliers::measures {
namespace {

const char* name_of(Of of) {
  return of == Of::inputs ? "each input" : of == Of::prompts ? "each prompt" : "the model";
}

std::string docs() {
  return tests::read_file(std::filesystem::path(OUTLIERS_TESTS_DIR).parent_path() / "docs/measures.md");
}

TEST(MeasuresDocs, ListEveryMeasure) {
  std::string table =
      "| measure | what it tells | made for | needs | only where named | source "
      "|\n|---|---|---|---|---|---|\n";
  for (const MeasureInfo& row : measure_table()) {
    const char* on_request = row.on_request == nullptr ? "" : row.on_request;
    table += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", row.name, row.description, name_of(row.of),
                         fmt::join(row.needs, ", "), on_request, row.source);
  }
  EXPECT_THAT(docs(), testing::HasSubstr(table));
}

TEST(MeasuresDocs, ListEveryNumberFormat) {
  std::string table = "| format | name | largest | x becomes | source |\n|---|---|---|---|---|\n";
  for (const NumberFormat& format : kNumberFormats) {
    table += fmt::format("| {} | `{}` | {:.6g} | {} | {} |\n", format.title, format.name, format.largest,
                         format.how, format.source);
  }
  EXPECT_THAT(docs(), testing::HasSubstr(table));
}

TEST(MeasuresDocs, ListEveryValue) {
  std::string table = "| value | shape | definition | source |\n|---|---|---|---|\n";
  for (const MeasureInfo& row : measure_table()) {
    for (const Value& value : row.values)
      table += fmt::format("| `{}` | {} | {} | {} |\n", value.name, value.shape,
                           results::filled(value.definition, {}), value.source);
  }
  EXPECT_THAT(docs(), testing::HasSubstr(table));
}

}  // namespace
}  // namespace outliers::measures
