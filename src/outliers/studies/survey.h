// The survey behind `outliers report`: one pass of prompts and corpora through a model, and everything that
// is to be known about its outliers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/criteria.h"
#include "outliers/core/ranks.h"
#include "outliers/measures/arrays.h"
#include "outliers/models/image_processor.h"
#include "outliers/models/model.h"
#include "outliers/results/results.h"
#include "outliers/studies/lifecycle_choice.h"
#include "outliers/text/tokenizer.h"

namespace outliers::studies {

struct SurveyOptions {
  /// Each is looked at token by token; none: that of 2502.06415.
  std::vector<std::string> prompts;
  std::vector<std::filesystem::path> corpora;  ///< as models::open_corpus; none: text::default_corpus()
  std::string text_field;                      ///< of text::read_corpus
  int64_t sequences = 4;                       ///< of each corpus
  int64_t tokens = 0;  ///< of a window; 0: 1024, or the model's positions where they are fewer
  text::BosPolicy bos = text::BosPolicy::model;
  uint64_t seed = 0;                  ///< of text::make_windows
  std::vector<std::string> measures;  ///< as measures::choose_measures()
  Criteria criteria;
  /// A second run over the prompts, where activations and attention are measured.
  bool lifecycle = true;
  LifecycleChoice look_at;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  /// For models of images, in place of prompts and corpora and what is said of them: the first image is the
  /// prompt, all of them are the corpus.
  models::Images images;
  Ranks* ranks = nullptr;     ///< the processes that share the corpora's sequences; outlives the survey
  uint64_t memory_limit = 0;  ///< as in run::RunOptions, of this process
  std::filesystem::path spill_directory;
};

struct Survey {
  results::Results results;
  measures::NamedArrays arrays;
};

/// Shows progress on a terminal. Throws for an empty prompt or corpus, for a model of images without any, for
/// more tokens than the model has positions, for fewer sequences than ranks, for unknown measures, and what
/// tokenizer, windows and run throw. With ranks, rank 0 returns the survey and the others an empty one.
Survey survey(const models::Model& model, const SurveyOptions& options);

/// Writes results.json and arrays.npz into an existing directory.
void write_survey(const results::Results& results, const measures::NamedArrays& arrays,
                  const std::filesystem::path& directory);

}  // namespace outliers::studies
