#include <cmath>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/shape.h"
#include "outliers/core/terminal.h"
#include "outliers/report/format.h"
#include "outliers/run/capture.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  std::string a, b;
  std::optional<double> whole, row;
  bool json = false, all = false;
};

std::string place_of(const run::PointComparison& point) {
  return shape_string(point.place);
}

nlohmann::ordered_json to_json(const run::CaptureComparison& comparison) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const run::PointComparison& p : comparison.points) {
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
  return {{"first", comparison.first < 0 ? nlohmann::ordered_json(nullptr) : points[first]["point"]},
          {"points", points},
          {"only_in_a", comparison.only_in_a},
          {"only_in_b", comparison.only_in_b}};
}

/// The sign of a NaN says nothing.
std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Inf" : "Inf";
  return fmt::format("{:.6g}", value);
}

/// Why a point is not within tolerance.
std::string reason(const run::PointComparison& p) {
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

void print_text(const run::CaptureComparison& comparison, bool all) {
  std::vector<std::vector<std::string>> rows;
  for (const run::PointComparison& p : comparison.points) {
    if (p.within && !all && comparison.points.size() > 40) continue;
    rows.push_back({p.name, shape_string(p.shape), fmt::format("{:.2e}", p.worst_absolute),
                    fmt::format("{:.2e}", p.worst_relative), fmt::format("{:.2e}", p.worst_row),
                    p.problem.empty() ? place_of(p) : p.problem, p.within ? "" : "above"});
  }
  if (!rows.empty()) {
    print(report::table({"point", "shape", "worst", "of largest", "within a row", "at", "tolerance"}, rows,
                        table_columns()));
  }
  const auto only = [](const char* where, const std::vector<std::string>& names) {
    if (names.empty()) return;
    print(fmt::format("only in {}: {} point{}, the first {}\n", where, names.size(),
                      names.size() == 1 ? "" : "s", printable(names.front())));
  };
  only("A", comparison.only_in_a);
  only("B", comparison.only_in_b);
  if (comparison.first < 0)
    print(fmt::format("all {} points are within tolerance\n", comparison.points.size()));
}

void run(const Options& options) {
  if (options.whole.has_value() != options.row.has_value()) {
    throw UsageError("--tolerance and --row-tolerance go together");
  }
  run::CaptureTolerance tolerance{};
  if (options.whole) tolerance = {*options.whole, *options.row};
  const run::CaptureComparison comparison =
      run::compare_captures(options.a, options.b, options.whole ? &tolerance : nullptr);
  if (options.json) {
    print(to_json(comparison).dump(1) + "\n");
  } else {
    print_text(comparison, options.all);
  }
  if (comparison.first < 0) return;
  const run::PointComparison& first = comparison.points[static_cast<size_t>(comparison.first)];
  fail("{} is the first point above tolerance: {}", first.name, reason(first));
}

}  // namespace

void add_compare_layers(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "compare-layers",
      "compare two captures and name the first point that differs (exit code 1 where one does)");
  auto options = std::make_shared<Options>();
  command->add_option("A", options->a, "a capture, .npz or .safetensors")->required();
  command->add_option("B", options->b, "the capture it is held against")->required();
  command
      ->add_option("--tolerance", options->whole,
                   "largest difference over the tensor's largest value (default: by dtype, float32 1e-4)")
      ->check(not_negative())
      ->type_name("X");
  command
      ->add_option("--row-tolerance", options->row,
                   "the same within each row (default: by dtype, float32 1e-3)")
      ->check(not_negative())
      ->type_name("X");
  command->add_flag("--all", options->all,
                    "list all points, also those within tolerance where they are many");
  add_json(*command, options->json);
  command->callback([options] { run(*options); });
}

}  // namespace outliers::apps
