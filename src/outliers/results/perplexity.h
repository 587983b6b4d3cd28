// What `outliers perplexity` found, as types: the content of perplexity.json (schema outliers-perplexity/1).
// fields_evaluation.h says of each field what it is called there and what it means; json.h writes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "outliers/results/results.h"

namespace outliers::results {

inline constexpr const char* kPerplexitySchema = "outliers-perplexity/1";

/// How a model was evaluated.
struct EvaluationRun : Program, Cost {
  std::optional<int64_t> ranks;
  Seconds seconds;
};

/// What it was evaluated on.
struct EvaluationText {
  std::vector<std::string> corpora;
  int64_t context = 0, stride = 0;
  std::string bos;
  std::vector<int64_t> bos_ids;
  int64_t windows = 0, tokens_scored = 0, bytes_scored = 0;
};

struct Score {
  double nll_nats = 0;
  std::optional<double> nll_standard_error;
  double ppl = 0;
  std::optional<double> bits_per_byte;
};

struct WindowScore {
  int64_t window = 0, first_token = 0, tokens_scored = 0, bytes_scored = 0;
  double nll_nats = 0;
};

struct Perplexity : Score {
  std::string schema = kPerplexitySchema;
  Model model;
  EvaluationRun run;
  EvaluationText text;
  std::vector<WindowScore> per_window;
};

}  // namespace outliers::results
