// Finds where a run's values first stop being finite. From there on every number is of what is left, so the
// summary tells no story beyond that layer (docs/results.md, first_nonfinite).
#pragma once

#include <optional>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/ranks.h"
#include "outliers/measures/measure.h"
#include "outliers/results/results.h"
#include "outliers/run/observer.h"

namespace outliers::studies {

/// Looks at what is added to the residual stream and at its sums, one read of each, until a layer has values
/// that are NaN or infinite; what the MLP's last product reads is looked at only where its output has some.
/// So of points in between the next one that it sees is named.
class FiniteWatch : public run::Observer {
 public:
  /// The first of several values is the one of the earliest point, then input, sequence, token, channel.
  struct First {
    run::Site site;
    size_t input;
    int64_t sequence, token, channel;
    int64_t expert;  ///< run::kNoExpert where the layer's MLP is one
    float value;     ///< NaN or an infinity
    auto order() const { return std::tuple(site, input, sequence, token, channel); }
  };

  /// The inputs of the run.
  explicit FiniteWatch(const std::vector<measures::Input>& inputs) : inputs_(inputs) {}

  bool wants(const run::Site& site, size_t input) const override;
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override;

  /// Rank 0 gets the first of all ranks; all ranks call it, after the run.
  void merge(Ranks& ranks);
  const std::optional<First>& first() const { return first_; }

 private:
  void note(const run::Site& site, const run::Slice& slice, const at::Tensor& x);

  const std::vector<measures::Input>& inputs_;
  std::optional<First> first_;
  struct Read {
    run::Point point;
    at::Tensor x;
  };
  std::vector<Read> read_;  // by this slice's down projections, until their output is seen
  at::Tensor experts_;      // of this slice's tokens, [b,T,k]
};

/// As results have it, without what stood before.
results::FirstNonfinite describe_first(const FiniteWatch::First& first,
                                       const std::vector<measures::Input>& inputs,
                                       const measures::TokenNames& names);

/// The largest value of the nearest point before `first` at which all of its input's values are finite;
/// nothing without one, or where activations were not measured.
std::optional<results::Before> largest_before(const FiniteWatch::First& first,
                                              const results::Results& results,
                                              const std::vector<measures::Input>& inputs,
                                              const measures::TokenNames& names);

}  // namespace outliers::studies
