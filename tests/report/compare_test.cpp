#include "outliers/report/compare.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/results/json.h"

#include "sample_report.h"
#include "support.h"

namespace outliers::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class Comparison : public testing::Test {
 protected:
  Results report(const std::string& name, const tests::SampleReport& sample) {
    sample.write(scratch_ / name);
    return read_results(scratch_ / name);
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(Comparison, ListsModelRunAndSummary) {
  tests::SampleReport other = tests::sample_report();
  other.data.model.name = "other";
  std::vector<Results> reports;
  reports.push_back(report("a", tests::sample_report()));
  reports.push_back(report("b", other));
  write_comparison(reports, scratch_.path());
  const json listed = json::parse(tests::read_file(scratch_ / "comparison.json"));
  EXPECT_EQ(listed["schema"], "outliers-comparison/2");
  const json whole = json::parse(results::to_text(other.data));
  EXPECT_EQ(listed["reports"][1], (json{{"label", "other"},
                                        {"model", whole["model"]},
                                        {"run", whole["run"]},
                                        {"summary", whole["summary"]}}));
  EXPECT_THAT(
      tests::read_file(scratch_ / "index.html"),
      HasSubstr("<dt>other</dt><dd>born in layer 1 of 2, largest in 1 (500, 2,000 medians), removed by "
                "no layer</dd>"));
}

TEST_F(Comparison, SaysWhatWasNotMeasured) {
  tests::SampleReport without = tests::sample_report();
  tests::leave_out(without, "activations");
  std::vector<Results> reports;
  reports.push_back(report("a", tests::sample_report()));
  reports.push_back(report("b", without));
  const std::string text = comparison_text(reports, 0);
  const std::string gap = "  not measured";
  EXPECT_THAT(text, HasSubstr("\nsample (a)       2  1  "));
  EXPECT_THAT(text, HasSubstr("\nsample (b)       2" + gap + gap + gap + gap + gap + gap + "\n"));
  write_comparison(reports, scratch_.path());
  EXPECT_THAT(tests::read_file(scratch_ / "index.html"),
              HasSubstr("<dt>sample (b)</dt><dd>not measured</dd>"));
}

}  // namespace
}  // namespace outliers::report
