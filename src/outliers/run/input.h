// What a run is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/models/config.h"
#include "outliers/run/edit.h"

namespace outliers::models {
class Model;
}

namespace outliers::run {

/// How many entries of a sequence each edit of a point selected, by its number in Input::edits.
class EditMatches {
 public:
  void set(size_t edit, int64_t sequence, int64_t count) { counts_[{edit, sequence}] = count; }
  int64_t count(size_t edit, int64_t sequence) const {
    const auto found = counts_.find({edit, sequence});
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::map<std::pair<size_t, int64_t>, int64_t> counts_;
};

/// Sequences of one length that are run together; or a branch of another input, which is the same run with
/// edits (docs/edits.md). A branch has its parent's ids, pixels, classes and part, whatever its own say.
struct Input {
  std::string name;        ///< "prompt", "corpus"
  at::Tensor ids = {};     ///< int64 [B,T], CPU; of images the numbers of their tokens
  at::Tensor pixels = {};  ///< [B,C,H,W] for models of images (image_input), else undefined
  /// An earlier input of the run that has no edits. The two are one until the first edited layer, so any
  /// number of branches costs no second reading of weights.
  std::optional<size_t> parent = {};
  std::vector<Edit> edits = {};
  std::shared_ptr<EditMatches> matches = {};  ///< filled by the run, where there is one
  at::Tensor classes = {};  ///< int64 [B,T], CPU: text::TokenClass of each token, for edits that name one
  /// Where each rank has a part of the sequences: the number of its first one. What an edit takes from the
  /// whole input is then taken from all parts. Nothing: the sequences here are all there are.
  std::optional<int64_t> part_begin = {};
};

/// Of images: pixels [B,C,H,W], ready for the model (rescaled, normalised), float. The ids are the numbers of
/// their tokens.
OUTLIERS_API Input image_input(const models::Config& config, std::string name, const at::Tensor& pixels);

/// Says the classes of the tokens where edits, an input's own or a branch's, name one and nobody has said
/// them: by the model's tokenizer. Images have none.
void add_classes(const models::Model& model, std::vector<Input>& inputs);

}  // namespace outliers::run
