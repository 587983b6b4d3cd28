#include <cmath>

#include "outliers/models/families/table.h"

namespace outliers::models {

std::vector<double> alibi_slopes(int64_t heads, double bias) {
  int64_t power = 1;
  while (power < heads) power *= 2;
  const auto slope = [&](int64_t i) {
    return std::exp2(-bias * static_cast<double>(i) / static_cast<double>(power));
  };
  std::vector<double> slopes;
  if (power == heads) {
    for (int64_t i = 1; i <= heads; ++i) slopes.push_back(slope(i));
    return slopes;
  }
  for (int64_t i = 2; i <= power; i += 2) slopes.push_back(slope(i));
  for (int64_t i = 1; static_cast<int64_t>(slopes.size()) < heads; i += 2) slopes.push_back(slope(i));
  return slopes;
}

}  // namespace outliers::models
