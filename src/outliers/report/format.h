// Numbers in a row, as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "outliers/report/numbers.h"

namespace outliers::report {

/// Sorted whole numbers as ranges: {0, 1, 2, 5} -> "0-2, 5".
std::string ranges(const std::vector<int64_t>& values);
/// One character a value, ▁ to █, on a log scale from the smallest to the largest; · for what is not finite.
std::vector<std::string> sparkline_cells(const std::vector<double>& values);

}  // namespace outliers::report
