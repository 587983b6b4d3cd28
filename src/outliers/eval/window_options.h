// How a text is cut into the windows that a model is evaluated on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "outliers/core/export.h"
#include "outliers/core/ranks.h"

namespace outliers::eval {

/// Where a BOS stands. model: what the checkpoint's tokenizer puts in front of a text stands in front of the
/// first window; every: one BOS in each window; first: one in the first; never: none.
enum class BosPlace { model, every, first, never, last = never };
OUTLIERS_API const char* bos_place_name(BosPlace place);

struct WindowOptions {
  std::vector<std::filesystem::path> corpora;  ///< as models::open_corpus; none: text::default_corpus()
  std::string text_field;                      ///< of text::read_corpus
  int64_t context = 0;    ///< tokens of a window; 0: 2048, or the model's positions where they are fewer
  int64_t stride = 0;     ///< from window to window, in tokens of the text; 0: no token stands in two
  int64_t sequences = 0;  ///< windows; 0: as many as there are
  BosPlace bos = BosPlace::model;
  Ranks* ranks = nullptr;  ///< that share the windows; each reads the corpora
};

}  // namespace outliers::eval
