#include <set>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/results/json_read.h"

namespace outliers::results {

void check_consistency(const Interventions& x, const std::string& file) {
  const auto require = [&]<typename... Args>(bool holds, fmt::format_string<Args...> format, Args&&... args) {
    if (!holds) fail("{}: {}", file, fmt::format(format, std::forward<Args>(args)...));
  };
  std::set<std::string> names, matched;  // those that a control may be of
  for (size_t i = 0; i < x.runs.size(); ++i) {
    const InterventionRun& run = x.runs[i];
    const std::string path = fmt::format("runs[{}]", i), name = printable(run.name, 40);
    require(names.insert(run.name).second, "{}.name is {}, as of another run", path, name);
    require(run.effect.has_value() == (i > 0), "{} {} effect; the first run is the plain one", path,
            run.effect ? "has an" : "lacks its");
    require(run.edits.empty() == (i == 0), "{} {} edits; the first run is the plain one", path,
            run.edits.empty() ? "lacks its" : "has");
    require(!run.control_of || matched.contains(*run.control_of),
            "{}.control_of is {}, which is no edited run before it", path,
            printable(run.control_of.value_or(""), 40));
    if (i > 0 && !run.control_of) matched.insert(run.name);
    const auto layers = static_cast<int64_t>(run.layers.size());
    require(i > 0 || layers == x.model.layers, "runs[0].layers has {} entries, but model.layers says {}",
            layers, x.model.layers);
    for (int64_t l = 0; l < layers; ++l) {
      const int64_t wanted = x.model.layers - layers + l, layer = run.layers[static_cast<size_t>(l)].layer;
      require(layer == wanted, "{}.layers[{}].layer is {}; layers stand in order, to the last, {}", path, l,
              layer, x.model.layers - 1);
    }
    const auto windows = static_cast<int64_t>(run.window_nll_nats.size());
    require(windows == 0 || windows == x.text.windows,
            "{}.window_nll_nats has {} entries, but text.windows says {}", path, windows, x.text.windows);
  }
}

}  // namespace outliers::results
