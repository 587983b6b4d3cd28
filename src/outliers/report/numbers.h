// Numbers as people read them: one rule, which the page's scripts (page/numbers.js) follow to the last
// character; tests/golden/numbers holds both against it. Halves are rounded away from zero.
#pragma once

#include <cstdint>
#include <string>

namespace outliers::report {

/// Three significant digits below 1,000, all digits in front of the point with commas above, two with an
/// exponent from ten million on, two below 0.1: 0.19, 42.7, 1,199, 103,795, 2.9e7, 0.0012, 9.5e-5. "not
/// finite" for NaN and infinities.
std::string number(double value);
/// A threshold, with all its digits: 0.3, 100, 65,504.
std::string limit(double value);
/// 24, 1,024, 151,936.
std::string count(int64_t value);
/// Decimal units: 398 MB, 1.50 GB.
std::string bytes(double value);
/// 0.42 s, 12.3 s, 4 min 05 s.
std::string seconds(double value);
/// 0.953 -> "95 %", 0.0277 -> "2.8 %"; "none" for NaN and infinities.
std::string percent(double share);

}  // namespace outliers::report
