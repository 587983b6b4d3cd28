#include "outliers/report/findings_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/table.h"
#include "outliers/report/numbers.h"

namespace outliers::report {
namespace {

using results::Finding;
using results::Severity;

constexpr size_t kNoLimit = std::string::npos;

const char* name_of(Severity severity) {
  return severity == Severity::severe ? "severe" : severity == Severity::warning ? "warning" : "note";
}

/// "1 severe, 2 warnings, 4 notes" of those from `first` on.
std::string counted(const std::vector<Finding>& findings, size_t first) {
  std::string text;
  for (const Severity severity : {Severity::severe, Severity::warning, Severity::note}) {
    const auto n = std::count_if(findings.begin() + static_cast<ptrdiff_t>(first), findings.end(),
                                 [&](const Finding& f) { return f.severity == severity; });
    if (n == 0) continue;
    const bool plural = n > 1 && severity != Severity::severe;
    text += fmt::format("{}{} {}{}", text.empty() ? "" : ", ", n, name_of(severity), plural ? "s" : "");
  }
  return text;
}

}  // namespace

std::vector<SummaryLine> finding_lines(const results::Results& r) {
  constexpr size_t most = 3;
  if (!r.findings) return {};
  if (r.findings->empty()) return {{"findings", "none: nothing is beyond the rules' thresholds"}};
  std::vector<SummaryLine> lines;
  size_t shown = 0;
  for (; shown < std::min(most, r.findings->size()); ++shown) {
    const Finding& finding = (*r.findings)[shown];
    if (finding.severity == Severity::note) break;
    lines.push_back({name_of(finding.severity), printable(finding.title, kNoLimit)});
  }
  if (shown < r.findings->size()) {
    lines.push_back({"findings", fmt::format("{}{}; `outliers check` tells all, and what to do",
                                             counted(*r.findings, shown), shown > 0 ? " more" : "")});
  }
  return lines;
}

std::string findings_text(const std::vector<Finding>& findings, size_t width) {
  if (findings.empty()) return "no findings: nothing is beyond the rules' thresholds\n";
  std::string text;
  for (const Finding& f : findings) {
    text += labelled(name_of(f.severity), printable(f.title, kNoLimit), width);
    text += labelled("", printable(f.text, kNoLimit), width);
    if (!f.advice.empty()) text += labelled("", "-> " + printable(f.advice, kNoLimit), width);
    std::string why = fmt::format("{}: {} {} {} {}", f.id, f.metric, number(f.value),
                                  f.value > f.threshold ? ">" : "<", limit(f.threshold));
    if (!f.source.empty()) why += fmt::format(" ({})", f.source);
    text += labelled("", printable(why, kNoLimit), width) + "\n";
  }
  return text + fold(counted(findings, 0), width, 0) + "\n";
}

}  // namespace outliers::report
