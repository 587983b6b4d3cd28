// Which inputs of a run are computed where: a branch is its parent until its first edited layer.
#pragma once

#include <limits>
#include <vector>

#include "outliers/models/config.h"
#include "outliers/run/edited_weights.h"
#include "outliers/run/input.h"
#include "outliers/run/tap.h"

namespace outliers::run {

class Branches {
 public:
  /// Throws for branches of branches or of edited inputs, for edits that the model does not have, and for
  /// classes of tokens that an input does not say.
  Branches(const std::vector<Input>& inputs, const models::Config& config);

  /// Branches have what is their parent's.
  const std::vector<Input>& inputs() const { return inputs_; }
  bool any() const;

  /// The layer from which on an input is computed by itself: 0 without a parent, the number of layers where
  /// only the model's own points are edited, kNever without edits.
  int64_t fork(size_t input) const { return forks_[input]; }
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  /// Branches of an input that part from it in a layer. The model's own points are of layer config.layers
  /// here.
  std::vector<size_t> forking(size_t input, int64_t layer) const;

  /// What an input does in a layer, or, for layer -1, after all: shows its points and those of the branches
  /// that are still the same.
  Tap tap(const std::vector<Observer*>& observers, int64_t layer, size_t input, Stopwatch& watch) const;
  /// Its edits of points there.
  LayerEdits point_edits(size_t input, int64_t layer) const;
  std::vector<const Edit*> weight_edits(size_t input, int64_t layer) const;
  /// Points of an input's unedited pass that edits there need whole: its branches' or its own.
  std::vector<Point> kept_points(size_t input, int64_t layer) const;

 private:
  std::vector<Input> inputs_;
  const models::Config& config_;
  std::vector<int64_t> forks_;
};

}  // namespace outliers::run
