// Super weights take runs of their own, each with those of the run before set to zero: studies::survey makes
// these when the pass is over.
#include "outliers/measures/measure.h"

namespace outliers::measures {

MeasureInfo super_weights_measure() {
  return {.name = "super_weights",
          .description = "single weights of down projections whose outputs spike, on the first prompt",
          .source = "arXiv 2411.07191, section 3.1",
          .of = Of::model,
          .on_request = "a run of the first prompt for each, and one more"};
}

}  // namespace outliers::measures
