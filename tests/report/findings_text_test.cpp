// A diagnosis in words: what stands in the summary, and the whole of it.
#include "outliers/report/findings_text.h"

#include <gmock/gmock.h>

#include "report/sample_report.h"

namespace outliers::report {
namespace {

using results::Finding;
using results::Severity;
using testing::ElementsAre;
using testing::HasSubstr;

Finding made(Severity severity, const std::string& id) {
  Finding finding;
  finding.id = id;
  finding.severity = severity;
  finding.metric = "kurtosis";
  finding.value = 1234.5;
  finding.threshold = 1000;
  finding.title = "title of " + id;
  finding.text = "text of " + id;
  finding.advice = "advice of " + id;
  finding.source = "a paper";
  return finding;
}

std::vector<Finding> made(size_t severe, size_t warnings, size_t notes) {
  std::vector<Finding> list;
  for (size_t i = 0; i < severe; ++i) list.push_back(made(Severity::severe, fmt::format("s{}", i)));
  for (size_t i = 0; i < warnings; ++i) list.push_back(made(Severity::warning, fmt::format("w{}", i)));
  for (size_t i = 0; i < notes; ++i) list.push_back(made(Severity::note, fmt::format("n{}", i)));
  return list;
}

/// "label: text" of each line.
std::vector<std::string> lines_of(const std::optional<std::vector<Finding>>& findings) {
  results::Results r = tests::sample_report().data;
  r.findings = findings;
  std::vector<std::string> lines;
  for (const SummaryLine& line : finding_lines(r)) lines.push_back(line.label + ": " + line.text);
  return lines;
}

TEST(FindingsText, OfTheSummaryHasTheWorst) {
  EXPECT_THAT(lines_of(std::nullopt), ElementsAre());
  EXPECT_THAT(lines_of(made(0, 0, 0)),
              ElementsAre("findings: none: nothing is beyond the rules' thresholds"));
  EXPECT_THAT(lines_of(made(1, 1, 0)), ElementsAre("severe: title of s0", "warning: title of w0"));
  const std::string more = "; `outliers check` tells all, and what to do";
  EXPECT_THAT(lines_of(made(0, 0, 2)), ElementsAre("findings: 2 notes" + more));
  EXPECT_THAT(lines_of(made(2, 4, 1)),
              ElementsAre("severe: title of s0", "severe: title of s1", "warning: title of w0",
                          "findings: 3 warnings, 1 note more" + more));
}

TEST(FindingsText, SaysWhatItMeansAndWhatToDo) {
  std::vector<Finding> findings = made(1, 0, 1);
  findings[1].value = 3;
  findings[1].advice.clear();
  findings[1].source.clear();
  EXPECT_EQ(findings_text(findings, 80),
            "severe      title of s0\n"
            "            text of s0\n"
            "            -> advice of s0\n"
            "            s0: kurtosis 1,235 > 1,000 (a paper)\n"
            "\n"
            "note        title of n0\n"
            "            text of n0\n"
            "            n0: kurtosis 3.00 < 1,000\n"
            "\n"
            "1 severe, 1 note\n");
  EXPECT_EQ(findings_text({}, 80), "no findings: nothing is beyond the rules' thresholds\n");
}

TEST(FindingsText, IsSafeForATerminal) {
  std::vector<Finding> findings = made(1, 0, 0);
  findings[0].title = "\x1b[31mred\ntwo";
  findings[0].id = "a\nb";
  const std::string text = findings_text(findings, 80);
  EXPECT_THAT(text, testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("severe      \\x1b[31mred\\ntwo\n"));
  EXPECT_THAT(lines_of(findings)[0], HasSubstr("\\x1b"));
}

}  // namespace
}  // namespace outliers::report
