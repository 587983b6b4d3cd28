// Finds where a run's values first stop being finite. From there on every number is of what is left.
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/ranks.h"
#include "outliers/run/observer.h"

namespace outliers::run {

/// Looks at what is added to the residual stream and at its sums, one read of each, until a layer has values
/// that are NaN or infinite; what the MLP's last product reads is looked at only where its output has some.
/// So of points in between the next one that it sees is named.
class FiniteWatch : public Observer {
 public:
  /// The first of several values is the one of the earliest point, then input, sequence, token, channel.
  struct First {
    Site site;
    size_t input;
    int64_t sequence, token, channel;
    int64_t expert;  ///< kNoExpert where the layer's MLP is one
    float value;     ///< NaN or an infinity
    auto order() const { return std::tuple(site, input, sequence, token, channel); }
  };

  /// Of each input of the run that is watched, the first ones, the number of the first sequence that is here:
  /// 0 but where ranks share it out.
  explicit FiniteWatch(std::vector<int64_t> first_sequences) : first_sequences_(std::move(first_sequences)) {}

  bool wants(const Site& site, size_t input) const override;
  void on_point(const Site& site, const Slice& slice, const at::Tensor& x) override;

  /// Rank 0 gets the first of all ranks; all ranks call it, after the run.
  void merge(Ranks& ranks);
  const std::optional<First>& first() const { return first_; }

 private:
  void note(const Site& site, const Slice& slice, const at::Tensor& x);

  std::vector<int64_t> first_sequences_;
  std::optional<First> first_;
  struct Read {
    Point point;
    at::Tensor x;
  };
  std::vector<Read> read_;  // by this slice's down projections, until their output is seen
  at::Tensor experts_;      // of this slice's tokens, [b,T,k]
};

}  // namespace outliers::run
