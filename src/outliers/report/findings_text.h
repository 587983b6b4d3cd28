// A diagnosis in words.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "outliers/report/summary_text.h"
#include "outliers/results/results.h"

namespace outliers::report {

/// The worst findings of a report, a line each, and how many more there are; none where no rules were asked.
std::vector<SummaryLine> finding_lines(const results::Results& r);

/// All of them, with what they mean and what to do, folded to lines of `width` columns.
std::string findings_text(const std::vector<results::Finding>& findings, size_t width);

}  // namespace outliers::report
