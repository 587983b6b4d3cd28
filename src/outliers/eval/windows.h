// The windows of a text on which a model is evaluated, and which of their tokens count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/eval/window_options.h"
#include "outliers/models/model.h"
#include "outliers/results/perplexity.h"

namespace outliers::eval {

/// One window; its scored tokens are the last of it.
struct Window {
  int64_t first_token = 0;   ///< in the text, with a BOS that stands in front of all
  int64_t scored = 0;        ///< tokens
  int64_t scored_bytes = 0;  ///< of their text
};

/// All of a text.
struct Windows {
  at::Tensor ids;               ///< int64 [N,T], CPU
  std::vector<Window> windows;  ///< N
  results::EvaluationText text;

  /// Of windows [first, last): the places in [last - first, T] whose logits score a token, row by row, and
  /// the ids of those tokens; int64.
  struct Scored {
    at::Tensor places, targets;
  };
  Scored scored(int64_t first, int64_t last) const;
};

/// Cuts the text, documents and corpora joined by a blank line, into whole windows of `context` tokens that
/// start `stride` apart. Each scores the tokens that no earlier one does, but never its own first token, nor
/// a BOS. Throws for models of images or without a head, a context longer than the positions, a stride that
/// leaves tokens out, a text with fewer windows than were asked for or none, ids that the vocabulary does not
/// have, and what tokenizer and corpora throw.
Windows cut_windows(const models::Model& model, const WindowOptions& options);

}  // namespace outliers::eval
