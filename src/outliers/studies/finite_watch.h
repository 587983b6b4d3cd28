// Finds where a run's values first stop being finite. From there on every number is of what is left, so the
// summary tells no story beyond that layer (docs/results.md, first_nonfinite).
#pragma once

#include <optional>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "outliers/core/ranks.h"
#include "outliers/run/runner.h"
#include "outliers/studies/token_names.h"

namespace outliers::studies {

/// Looks at what is added to the residual stream and at its sums, one read of each, until a layer has values
/// that are NaN or infinite; what the MLP's last product reads is looked at only where its output has some.
/// So of points in between the next one that it sees is named.
class FiniteWatch : public run::Observer {
 public:
  /// The first of several values is the one of the earliest point, then batch, sequence, token, channel.
  struct First {
    run::Site site;
    size_t batch;
    int64_t sequence, token, channel;
    int64_t expert;  ///< run::kNoExpert where the layer's MLP is one
    float value;     ///< NaN or an infinity
    auto order() const { return std::tuple(site, batch, sequence, token, channel); }
  };

  /// first_sequence: the number in the corpus of this rank's first, whose batch is not the prompt's.
  explicit FiniteWatch(int64_t first_sequence = 0) : first_sequence_(first_sequence) {}

  bool wants(const run::Site& site, size_t batch) const override;
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override;

  /// Rank 0 gets the first of all ranks; all ranks call it, after the run.
  void merge(Ranks& ranks);
  const std::optional<First>& first() const { return first_; }

 private:
  void note(const run::Site& site, const run::Slice& slice, const at::Tensor& x);

  int64_t first_sequence_;
  std::optional<First> first_;
  struct Input {
    run::Point point;
    at::Tensor x;
  };
  std::vector<Input> inputs_;  // of this slice's down projections, until their output is seen
  at::Tensor experts_;         // of this slice's tokens, [b,T,k]
};

/// results.json's summary.first_nonfinite: null without one. `activations` and `embedding` are those of the
/// results; what stood before is taken from them.
nlohmann::ordered_json describe_first(const std::optional<FiniteWatch::First>& first,
                                      const nlohmann::ordered_json& activations,
                                      const nlohmann::ordered_json& embedding,
                                      const std::vector<run::Input>& batches, const TokenNames& names);

}  // namespace outliers::studies
