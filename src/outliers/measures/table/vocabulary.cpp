// Which tokens spike where a sequence begins takes a run of its own, of every id: studies::survey makes it
// when the pass is over.
#include "outliers/measures/measure.h"
#include "outliers/models/model.h"

namespace outliers::measures {

MeasureInfo vocabulary_measure() {
  return {.name = "vocabulary",
          .description = "the share of the vocabulary's tokens that spike at position 0",
          .source = "arXiv 2603.05498",
          .of = Of::model,
          .on_request = "a run of every id of the vocabulary, as a sequence of one token each",
          .applies = [](const models::Config& config) { return !models::reads_images(config); }};
}

}  // namespace outliers::measures
