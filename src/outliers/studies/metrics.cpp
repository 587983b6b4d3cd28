#include "outliers/studies/metrics.h"

#include <iterator>

#include <fmt/format.h>

#include "outliers/measures/measure.h"
#include "outliers/report/figure.h"
#include "outliers/studies/samples.h"

namespace outliers::studies {
namespace {

using results::Activations;
using results::Results;
using results::Weight;

const std::vector<std::string> kPoints(std::begin(results::kPoints), std::end(results::kPoints));
const std::vector<std::string> kModules(report::kShownModules.begin(), report::kShownModules.end());

std::vector<Metric> made_table() {
  const std::string by_point = ", by layer and input", by_matrix = ", by layer and module";
  const std::vector<std::string> extent = {"max", "median"};
  const auto share_of = [](double Criteria::*largest) {
    return [largest](const Results& r) {
      return of_points(r, [&](const Activations& x) { return x.max / (r.criteria.*largest); });
    };
  };
  std::vector<Metric> table = {
      {"layers_not_finite",
       "",
       "layers from the first NaN or infinity on, of the whole model",
       {},
       {},
       {"what", "dtype"},
       not_finite},
      {"of_fp16_max",
       "",
       "the largest abs x as a share of float16's largest number" + by_point,
       {"activations"},
       kPoints,
       extent,
       share_of(&Criteria::fp16_max)},
      {"of_fp8_e4m3_max",
       "",
       "the largest abs x as a share of e4m3's largest number" + by_point,
       {"activations"},
       kPoints,
       extent,
       share_of(&Criteria::fp8_e4m3_max)},
      {"max_over_median",
       "medians",
       "the largest abs x over the median of abs x" + by_point,
       {"activations"},
       kPoints,
       extent,
       [](const Results& r) { return of_points(r, over_median); }},
      {"int8_step_over_median",
       "medians",
       "one step of a symmetric int8 scale for the whole tensor over the median of abs x" + by_point,
       {"activations"},
       kPoints,
       extent,
       [](const Results& r) {
         return of_points(r, [&](const Activations& x) { return over_median(x) / r.criteria.int8_steps; });
       }},
      {"massive_over_median",
       "medians",
       "the largest abs x over the median, of layers that hold a massive activation" + by_point,
       {"activations"},
       kPoints,
       {"max", "channels"},
       massive},
      {"kurtosis",
       "",
       "Pearson's kurtosis of x, mean over sequences" + by_point,
       {"activations"},
       kPoints,
       extent,
       [](const Results& r) {
         return of_points(r, [](const Activations& x) { return x.kurtosis_pearson; });
       }},
      {"weights_not_finite",
       "",
       "entries that are NaN or infinite" + by_matrix,
       {"weights"},
       kModules,
       {},
       [](const Results& r) {
         return of_weights(r, [](const Weight& w, Sample& s) { s.value = static_cast<double>(w.nonfinite); });
       }},
      {"weight_max_over_mean",
       "",
       "the largest max/mean of abs W of any row or column" + by_matrix,
       {"weights"},
       kModules,
       {"line"},
       [](const Results& r) { return of_weights(r, put_score); }},
      {"weight_row_max_over_mean",
       "",
       "the largest max/mean of abs W of any row, an output channel" + by_matrix,
       {"weights"},
       kModules,
       {"line"},
       [](const Results& r) { return of_weights(r, put_row); }},
      {"weight_kurtosis",
       "",
       "Pearson's kurtosis of the entries" + by_matrix,
       {"weights"},
       kModules,
       {},
       [](const Results& r) {
         return of_weights(r, [](const Weight& w, Sample& s) { s.value = w.kurtosis_pearson; });
       }},
      {"one_neuron_share",
       "",
       "the part of a prompt's largest value that one neuron writes in the layer where it is born, by prompt",
       {"activations", "writes"},
       {"down"},
       {"whole", "product", "weight", "down_in"},
       births},
      {"top_weight_share",
       "",
       "where down_in has outliers and the top column is not the top channel: what the top column's neuron "
       "writes at most "
       "over the most that any writes, by layer and corpus",
       {"alignment"},
       {"down"},
       {"column", "ratio", "writes", "product"},
       top_weights},
      {"sink_rate",
       "",
       "of models of text: mean of the heads' sink rates, by layer and corpus",
       {"attention"},
       {},
       {},
       sink_rates},
      {"top_key_share",
       "",
       "the part of a sequence's probability that one key receives, by layer and corpus",
       {"attention"},
       {},
       {},
       top_keys},
      {"later_key_share",
       "",
       "of models of text: the part of the outlier keys that are not the first of their window, by corpus",
       {"attention"},
       {},
       {},
       later_keys},
      {"super_expert_over_median",
       "medians",
       "of experts whose largest output is above the 99.5th percentile of all and above a tenth of the "
       "largest: "
       "that over the median of all, by layer, input and expert",
       {"experts"},
       {},
       {"max"},
       super_experts},
      {"high_patch_share",
       "",
       "the part of the patches whose norm is high in the last layer",
       {"norms"},
       {},
       extent,
       high_patches}};
  for (const measures::MeasureInfo& measure : measures::measure_table()) {
    for (const measures::Value& value : measure.values) {
      const std::string name = value.name;
      const bool by_head = std::string_view(value.shape) == "[H]";
      table.push_back({name,
                       "",
                       fmt::format("{}, by layer, input{}", value.definition, by_head ? " and head" : ""),
                       {measure.name},
                       {},
                       {},
                       [name, by_head](const Results& r) { return of_value(r, name, by_head); }});
    }
  }
  return table;
}

}  // namespace

const std::vector<Metric>& metric_table() {
  static const std::vector<Metric> table = made_table();
  return table;
}

}  // namespace outliers::studies
