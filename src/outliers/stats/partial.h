// What one look at a tensor gives: small results on the CPU, whatever device the tensor is on. The
// accumulators need nothing else, so a backend is an implementation of the four functions below: reference/
// (ATen operations, any device), cpu/ (one fused pass) and, in builds with CUDA, cuda/. Results of backends
// agree exactly in counts, positions, maxima and keys, and to rounding in sums.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/stats/activations.h"

namespace outliers::stats {

/// The key of x is the bit pattern of abs x in x's dtype: 15 bits for float16 and bfloat16, 31 for float32.
/// Keys of finite values have the order of abs x. A bin is a key's top 15 bits: the key itself of a 16-bit
/// dtype, key >> 16 of float32.
inline constexpr int64_t kBins = int64_t{1} << 15;
inline constexpr int64_t kKeysPerBin = int64_t{1} << 16;  ///< of float32

/// Bins [first, last).
struct BinRange {
  int64_t first = 0, last = 0;
  bool empty() const { return first >= last; }
  bool holds(int64_t bin) const { return first <= bin && bin < last; }
};

/// Central moments of finite values, mergeable without cancellation (Pébay, SAND2008-6212, eq. 2.1).
struct Moments {
  int64_t count = 0;
  double mean = 0, m2 = 0, m3 = 0, m4 = 0;  ///< m_p = sum of (x - mean)^p
  void add(const Moments& other);
};

/// One sequence. Only finite values enter anything but nan_count and inf_count.
struct SequencePartial {
  Moments moments;              ///< of signed x
  double abs_sum = 0;           ///< sum of abs x
  std::array<float, 3> top3{};  ///< largest, second, third abs x; 0 where there are fewer values
  int64_t nan_count = 0, inf_count = 0;
};

/// What to look for besides the fixed results.
struct ActivationQuery {
  BinRange keep;         ///< gather the keys of these bins (float32 only; empty for the others)
  int64_t top = 10;      ///< list so many of the largest values ...
  int64_t limit = 1000;  ///< ... and so many, at least `top`, where they are above `above`
  double above = Criteria{}.massive_above;
};

struct ActivationPartial {
  std::vector<SequencePartial> sequences;  ///< [B]
  at::Tensor channel_max;                  ///< [C] float32, CPU; 0 where a channel has no finite value
  at::Tensor token_max;                    ///< [B,T] float32, CPU; 0 where a token has no finite value
  std::vector<int64_t> histogram;          ///< [kBins], of finite values
  int64_t zero_count = 0;                  ///< values with key 0 (they are in histogram[0] too)
  std::vector<at::Tensor> kept;          ///< keys in query.keep but key 0, in any order: parts int32 [n], CPU
  std::vector<ActivationValue> largest;  ///< in the order of stands_before; sequence counts from 0
};

/// x [B,T,C] float32, float16 or bfloat16, any strides, no dimension of size 0. Chooses the backend by
/// device.
ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query);

/// How often each key of each of `bins` occurs in x (float32, any shape): one vector [kKeysPerBin] per bin,
/// indexed by the key's low 16 bits.
std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins);

/// key_counts() of several tensors, added up.
class KeySums {
 public:
  explicit KeySums(const std::vector<int64_t>& bins);
  void add(const at::Tensor& x);
  /// One vector [kKeysPerBin] per bin.
  const std::vector<std::vector<int64_t>>& counts() const { return counts_; }

 private:
  std::vector<int64_t> bins_;
  std::vector<std::vector<int64_t>> counts_;
};

/// Along a line (row or column) of a matrix, over finite values.
struct LineSums {
  std::vector<float> max;       ///< largest abs w; 0 where there is no finite value
  std::vector<double> abs_sum;  ///< sum of abs w
  std::vector<int64_t> count;   ///< finite values
};

struct WeightPartial {
  Moments moments;    ///< of signed w
  double median = 0;  ///< of abs w, exact
  int64_t nonfinite = 0;
  LineSums rows, columns;
};

/// w [R,C] float32, float16 or bfloat16, any strides, no dimension of size 0. Chooses the backend by device.
WeightPartial weight_partial(const at::Tensor& w);

/// Two magnitudes between which the median of the finite x lies, but for a few standard errors of the sample
/// of up to 16,384 values that they are taken from. Always the same sample for a shape. Nothing where nothing
/// is finite.
struct MedianGuess {
  float low, high;
};
std::optional<MedianGuess> guess_median(const at::Tensor& x, double standard_errors);

/// The order of every list of values: larger abs first, then earlier sequence, token, channel.
bool stands_before(const ActivationValue& a, const ActivationValue& b);

/// abs x of a key, and the bin of a float32 magnitude.
double magnitude_of_key(uint32_t key, at::ScalarType dtype);
int64_t float_bin(float magnitude);

namespace reference {
ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query);
std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins);
WeightPartial weight_partial(const at::Tensor& w);
}  // namespace reference

namespace cpu {
ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query);
std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins);
WeightPartial weight_partial(const at::Tensor& w);
}  // namespace cpu

}  // namespace outliers::stats
