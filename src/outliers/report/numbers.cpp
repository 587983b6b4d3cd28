#include "outliers/report/numbers.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

namespace outliers::report {
namespace {

/// A finite number's decimal digits, cut to some by rounding halves away from zero: 0.d1d2d3... x 10^point.
struct Decimal {
  std::string digits;
  int point;

  /// The first `keep` digits; none where keep < 0.
  void round(int keep) {
    if (keep >= static_cast<int>(digits.size())) {
      digits.append(static_cast<size_t>(keep) - digits.size(), '0');
      return;
    }
    const bool up = keep >= 0 && digits[static_cast<size_t>(keep)] >= '5';
    digits.resize(static_cast<size_t>(std::max(keep, 0)));
    if (!up) return;
    for (size_t i = digits.size(); i-- > 0;) {
      if (++digits[i] <= '9') return;
      digits[i] = '0';
    }
    digits.insert(digits.begin(), '1');
    ++point;
  }
};

/// Of a double's expansion, which ends, more digits than can decide a half.
Decimal decimal_of(double size) {
  if (size == 0) return {"", 0};
  const std::string text = fmt::format("{:.120e}", size);  // "d.ddd...e+XX"
  const size_t e = text.find('e');
  return {text.substr(0, 1) + text.substr(2, e - 2), std::stoi(text.substr(e + 1)) + 1};
}

std::string with_commas(std::string digits) {
  const size_t first = digits.front() == '-' ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

const char* sign_of(double value) {
  return value < 0 ? "-" : "";
}

/// With `decimals` digits behind the point.
std::string fixed(double value, int decimals) {
  Decimal d = decimal_of(std::abs(value));
  d.round(d.point + decimals);
  std::string whole = d.point > 0 ? d.digits.substr(0, static_cast<size_t>(d.point)) : "",
              rest = d.digits.substr(whole.size());
  if (whole.empty()) {
    whole = "0";
    rest.insert(0, static_cast<size_t>(decimals) - std::min(rest.size(), static_cast<size_t>(decimals)), '0');
  }
  return sign_of(value) + whole + (decimals > 0 ? "." + rest : "");
}

/// Two digits and an exponent: 2.9e7.
std::string scientific(double value) {
  Decimal d = decimal_of(std::abs(value));
  d.round(2);
  return fmt::format("{}{}.{}e{}", sign_of(value), d.digits[0], d.digits[1], d.point - 1);
}

/// Two digits of a number below 0.1, without zeros behind: 0.0012, 0.05.
std::string small(double value) {
  Decimal d = decimal_of(std::abs(value));
  d.round(2);
  std::string text = "0." + std::string(static_cast<size_t>(-d.point), '0') + d.digits.substr(0, 2);
  text.erase(text.find_last_not_of('0') + 1);
  return sign_of(value) + text;
}

}  // namespace

std::string number(double value) {
  if (!std::isfinite(value)) return "not finite";
  const double size = std::abs(value);
  if (size >= 1e7) return scientific(value);
  if (size >= 999.5) return with_commas(fixed(value, 0));
  if (size >= 99.95) return fixed(value, 0);
  if (size >= 9.995) return fixed(value, 1);
  if (size >= 0.0995 || size == 0) return fixed(value, 2);
  return size >= 0.0001 ? small(value) : scientific(value);
}

std::string count(int64_t value) {
  return with_commas(fmt::format("{}", value));
}

std::string limit(double value) {
  const std::string text = fmt::format("{}", value);
  const size_t point = std::min(text.find_first_of(".e"), text.size());
  return with_commas(text.substr(0, point)) + text.substr(point);
}

std::string bytes(double value) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(units)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{} {}",
                     fixed(value, unit == 0 || value >= 99.95 ? 0
                                  : value < 9.995             ? 2
                                                              : 1),
                     units[unit]);
}

std::string seconds(double value) {
  if (value < 59.95) return fixed(value, value < 9.995 ? 2 : 1) + " s";
  const auto whole = static_cast<int64_t>(std::floor(value + 0.5));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string percent(double share) {
  if (!std::isfinite(share)) return "none";
  const double value = share * 100;
  return fixed(value, value != 0 && std::abs(value) < 9.95 ? 1 : 0) + " %";
}

}  // namespace outliers::report
