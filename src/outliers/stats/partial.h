// What one look at a tensor gives, small enough to leave its device. The accumulators in activations.h and
// weights.h are built on these; a backend (CPU kernel, ATen operations, CUDA) only has to fill them.
//
// The exact median needs no histogram and no sort of everything: a bracket [low, high] around it is guessed
// from a sample, values below are counted, values inside are kept, and the median is picked among those.
// Where the guess was wrong, the tensor is looked at once more with a bracket that cannot miss.
#pragma once

#include <limits>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/stats/activations.h"

namespace outliers::stats {

/// Which abs x are kept (low <= abs x <= high), and from where on places are kept (abs x > candidates_above).
struct Bracket {
  float low = 0, high = std::numeric_limits<float>::infinity();
  float candidates_above = std::numeric_limits<float>::infinity();
};

/// Sums over finite x of one sequence, of d = x - shift, in double. Adding two parts of it adds every field.
struct Moments {
  int64_t count = 0;
  double sum = 0, square = 0, cube = 0, fourth = 0;  // of d, d^2, d^3, d^4
  double abs_sum = 0;                                // of abs x
  void add(const Moments& other);
  double mean_offset() const;  ///< mean - shift
  double variance() const;     ///< population variance
  double fourth_central() const;
};

/// How values lie against a bracket.
struct Ranks {
  int64_t below = 0;          ///< finite values with abs x < low
  std::vector<float> inside;  ///< abs x in the bracket, in no order
  /// x with abs x > candidates_above, in no order.
  std::vector<ActivationValue> candidates;
  void add(Ranks&& other);
};

/// One look at x [B,T,C].
struct ActivationPartial {
  std::vector<Moments> sequences;  // [B]
  std::vector<double> top3;  // [B * 3], largest, second and third abs x of each sequence (0 where fewer)
  at::Tensor channel_max;    // [C] float32, CPU
  at::Tensor token_max;      // [B,T] float32, CPU
  std::vector<ActivationValue> top;  // the `top` largest, ties by place; sequences from 0
  int64_t nan_count = 0, inf_count = 0;
  Ranks ranks;
};

/// Some abs x of the tensor, sorted, finite, at even distances; at most 16,384.
std::vector<float> sample(const at::Tensor& x);

/// What is subtracted from each sequence [B] before its moments are formed, so that they do not cancel: the
/// median of its middle token. Exact for constants, and small beside any spread.
std::vector<double> shifts(const at::Tensor& x);

/// x [B,T,C] of a float dtype, shift [B].
ActivationPartial activation_partial(const at::Tensor& x, const Bracket& bracket,
                                     const std::vector<double>& shift, int64_t top);
/// Only the ranks, for a second look.
Ranks ranks_of(const at::Tensor& x, const Bracket& bracket);

/// Sums over the rows and columns of w [R,C], beside what activation_partial gives of [1,R,C].
struct WeightPartial {
  ActivationPartial all;
  std::vector<double> row_abs_sum, column_abs_sum;  // finite values
  std::vector<int64_t> row_count, column_count;     // finite values; empty where all are finite
};
WeightPartial weight_partial(const at::Tensor& w, const Bracket& bracket, double shift);

// The backends.
namespace cpu {
ActivationPartial activation_partial(const at::Tensor& x, const Bracket& bracket,
                                     const std::vector<double>& shift, int64_t top);
Ranks ranks_of(const at::Tensor& x, const Bracket& bracket);
WeightPartial weight_partial(const at::Tensor& w, const Bracket& bracket, double shift);
}  // namespace cpu
namespace aten {
ActivationPartial activation_partial(const at::Tensor& x, const Bracket& bracket,
                                     const std::vector<double>& shift, int64_t top);
Ranks ranks_of(const at::Tensor& x, const Bracket& bracket);
WeightPartial weight_partial(const at::Tensor& w, const Bracket& bracket, double shift);
}  // namespace aten

/// Whether place a stands before b in every top list: larger abs x, then sequence, token, channel.
bool stands_before(const ActivationValue& a, const ActivationValue& b);

/// The two middle ranks of n values (equal for odd n).
struct MiddleRanks {
  int64_t low, high;
};
inline MiddleRanks middle_ranks(int64_t n) {
  return {(n - 1) / 2, n / 2};
}
/// Whether the median of n values lies inside.
bool holds_median(const Ranks& ranks, int64_t n);
/// The median, exact; between two middle values their mean. Reorders `inside`. Needs holds_median().
double median_of(Ranks& ranks, int64_t n);

/// A bracket around the median that a sample gives; all values where the sample is the whole tensor.
Bracket guess_bracket(const std::vector<float>& sorted_sample, int64_t elements);

}  // namespace outliers::stats
