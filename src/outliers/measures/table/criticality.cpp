// What the predictions lose without the super weights: an evaluation of its own, by studies::survey.
#include "outliers/measures/measure.h"
#include "outliers/models/model.h"

namespace outliers::measures {

MeasureInfo criticality_measure() {
  return {.name = "criticality",
          .description = "perplexity of the first corpus without super weights, and without random weights",
          .source = "arXiv 2607.08733",
          .of = Of::model,
          .needs = {"super_weights"},
          .on_request = "21 evaluations of the first corpus for each super weight, and 21 without all",
          .applies = [](const models::Config& config) {
            return !models::reads_images(config) && models::has_head(config);
          }};
}

}  // namespace outliers::measures
