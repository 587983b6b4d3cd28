// What a survey runs: prompts and corpora as tokens, or images, under the names that results give them.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "outliers/measures/measure.h"
#include "outliers/models/model.h"
#include "outliers/results/results.h"
#include "outliers/run/input.h"

namespace outliers::studies {

struct SurveyOptions;

/// The inputs, for those who run, measure and list them: first the prompts, then the corpora.
struct Subjects {
  std::vector<run::Input> runs;
  std::vector<measures::Input> measured;
  std::vector<results::Input> listed;
  std::unique_ptr<measures::TokenNames> names;
  std::optional<results::Images> images;
};

/// As survey() says, which throws for the same reasons.
Subjects subjects_of(const models::Model& model, const SurveyOptions& options);

}  // namespace outliers::studies
