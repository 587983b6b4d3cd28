// The comparison of two captures in words and as JSON.
#include <cmath>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/core/table.h"
#include "outliers/run/capture_compare.h"

namespace outliers::run {
namespace {

std::string place_of(const PointComparison& point) {
  return shape_string(point.place);
}

/// The sign of a NaN says nothing.
std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Inf" : "Inf";
  return fmt::format("{:.6g}", value);
}

/// Why a point is not within tolerance.
std::string reason(const PointComparison& p) {
  if (!p.problem.empty()) return p.problem;
  const std::string values =
      fmt::format("{} against {} at {}", value_text(p.value_a), value_text(p.value_b), place_of(p));
  const std::string size =
      fmt::format("{:.3g} of the largest value, {:.3g} within a row", p.worst_relative, p.worst_row);
  if (p.nonfinite == 0) return fmt::format("{}; {}", size, values);
  return fmt::format(
      "{}{}; the finite values differ by {}", values,
      p.nonfinite == 1
          ? ", the only one that is NaN or infinite in one of them only"
          : fmt::format(", the first of {} that are NaN or infinite in one of them only", p.nonfinite),
      size);
}

}  // namespace

std::string comparison_json(const CaptureComparison& comparison) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const PointComparison& p : comparison.points) {
    points.push_back({{"point", p.name},
                      {"shape", p.shape},
                      {"within", p.within},
                      {"problem", p.problem},
                      {"worst_absolute", p.worst_absolute},
                      {"worst_relative", p.worst_relative},
                      {"worst_row", p.worst_row},
                      {"place", p.place},
                      {"a", p.value_a},
                      {"b", p.value_b},
                      {"nonfinite", p.nonfinite}});
  }
  const auto first = static_cast<size_t>(comparison.first);
  const nlohmann::ordered_json result = {
      {"first", comparison.first < 0 ? nlohmann::ordered_json(nullptr) : points[first]["point"]},
      {"points", points},
      {"only_in_a", comparison.only_in_a},
      {"only_in_b", comparison.only_in_b}};
  return result.dump(1);
}

std::string comparison_text(const CaptureComparison& comparison, size_t width, bool all) {
  std::string text;
  std::vector<std::vector<std::string>> rows;
  for (const PointComparison& p : comparison.points) {
    if (p.within && !all && comparison.points.size() > 40) continue;
    rows.push_back({p.name, shape_string(p.shape), fmt::format("{:.2e}", p.worst_absolute),
                    fmt::format("{:.2e}", p.worst_relative), fmt::format("{:.2e}", p.worst_row),
                    p.problem.empty() ? place_of(p) : p.problem, p.within ? "" : "above"});
  }
  if (!rows.empty()) {
    text += table({"point", "shape", "worst", "of largest", "within a row", "at", "tolerance"}, rows, width);
  }
  const auto only = [&](const char* where, const std::vector<std::string>& names) {
    if (names.empty()) return;
    text += fmt::format("only in {}: {} point{}, the first {}\n", where, names.size(),
                        names.size() == 1 ? "" : "s", printable(names.front()));
  };
  only("A", comparison.only_in_a);
  only("B", comparison.only_in_b);
  if (comparison.first < 0)
    text += fmt::format("all {} points are within tolerance\n", comparison.points.size());
  return text;
}

std::string first_difference(const CaptureComparison& comparison) {
  if (comparison.first < 0) return "";
  const PointComparison& first = comparison.points[static_cast<size_t>(comparison.first)];
  return fmt::format("{} is the first point above tolerance: {}", first.name, reason(first));
}

}  // namespace outliers::run
