#include "outliers/report/format.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace outliers::report {
std::string ranges(const std::vector<int64_t>& values) {
  std::string text;
  for (size_t i = 0; i < values.size();) {
    size_t end = i;
    while (end + 1 < values.size() && values[end + 1] == values[end] + 1) ++end;
    if (!text.empty()) text += ", ";
    text += end == i ? fmt::format("{}", values[i]) : fmt::format("{}-{}", values[i], values[end]);
    i = end + 1;
  }
  return text;
}

std::vector<std::string> sparkline_cells(const std::vector<double>& values) {
  static const char* blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  double low = INFINITY, high = -INFINITY;
  for (const double v : values) {
    if (v > 0 && std::isfinite(v)) {
      low = std::min(low, std::log(v));
      high = std::max(high, std::log(v));
    }
  }
  std::vector<std::string> cells;
  for (const double v : values) {
    const double height = v > 0 && high > low ? (std::log(v) - low) / (high - low) : 0;
    cells.emplace_back(std::isfinite(v) ? blocks[static_cast<size_t>(std::lround(height * 7))] : "·");
  }
  return cells;
}

}  // namespace outliers::report
