#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/suggest.h"
#include "outliers/measures/measure.h"

namespace outliers::measures {

// A row a measure; table/NAME.cpp has it.
#define OUTLIERS_MEASURES(row)                                                                              \
  row(activations) row(attention) row(attention_maps) row(weights) row(experts) row(writes)                 \
      row(prompt_values) row(norms) row(alignment) row(value_drain) row(sinks) row(heads) row(distribution) \
          row(residual_sinks) row(int8_outliers) row(positions) row(headroom) row(rounding)                 \
              row(weight_rounding) row(spectrum) row(collinearity) row(super_weights) row(criticality)      \
                  row(vocabulary)

#define OUTLIERS_DECLARE(name) MeasureInfo name##_measure();
OUTLIERS_MEASURES(OUTLIERS_DECLARE)
#undef OUTLIERS_DECLARE

const std::vector<MeasureInfo>& measure_table() {
#define OUTLIERS_ROW(name) name##_measure(),
  static const std::vector<MeasureInfo> table = {OUTLIERS_MEASURES(OUTLIERS_ROW)};
#undef OUTLIERS_ROW
  return table;
}

namespace {

const MeasureInfo& find(const std::string& name) {
  const std::vector<MeasureInfo>& table = measure_table();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const auto& row) { return row.name == name; });
  if (found != table.end()) return *found;
  std::vector<std::string> names = {"all"};
  for (const MeasureInfo& row : table) names.emplace_back(row.name);
  const std::string near = nearest(name, names);
  fail(Cause{ErrorKind::usage, {Setting::measures}}, "there is no measure {}; {}", printable(name, 40),
       near.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                    : fmt::format("did you mean {}?", near));
}

void add_with_needs(const MeasureInfo& row, std::set<std::string>& names) {
  names.insert(row.name);
  for (const std::string& need : row.needs) add_with_needs(find(need), names);
}

}  // namespace

std::vector<const MeasureInfo*> choose_measures(const std::vector<std::string>& names,
                                                const models::Config& config) {
  const bool all = std::find(names.begin(), names.end(), "all") != names.end();
  std::set<std::string> wanted;
  for (const std::string& name : names) {
    if (name == "all") continue;
    const MeasureInfo& row = find(name);
    require(row.applies_to(config), kArgument, "the measure {} has nothing to look at in {}", name,
            printable(config.name));
    add_with_needs(row, wanted);
  }
  std::vector<const MeasureInfo*> chosen;
  for (const MeasureInfo& row : measure_table()) {
    const bool by_default = names.empty() && row.on_request == nullptr;
    if (row.applies_to(config) && (all || by_default || wanted.contains(row.name))) chosen.push_back(&row);
  }
  return chosen;
}

}  // namespace outliers::measures
