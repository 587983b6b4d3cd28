// Statistics of one point of a layer, whose tensors wait until its median is known.
#pragma once

#include <algorithm>
#include <vector>

#include "outliers/core/bytes.h"
#include "outliers/measures/kept_tensors.h"
#include "outliers/stats/activations.h"
#include "outliers/stats/magnitudes.h"
#include "outliers/stats/partial.h"

namespace outliers::measures {

class PointStatistics {
 public:
  explicit PointStatistics(const Criteria& criteria) : accumulator_({.criteria = criteria}) {}

  void add(const at::Tensor& x, int64_t first_sequence, Spill* spill) {
    accumulator_.add(x, first_sequence);
    // Of 16-bit dtypes the first look is exact.
    if (x.scalar_type() == at::kFloat) kept_.add(x, spill);
  }
  void save(ByteWriter& out) const { accumulator_.save(out); }
  void merge(ByteReader& in) { accumulator_.merge(stats::ActivationAccumulator::load(in)); }

  /// The bins of the histogram that are to be counted key by key.
  std::vector<int64_t> question() { return accumulator_.refinement_bins(); }
  /// Of this rank's tensors, for the bins that question() gave.
  void answer(ByteReader& question, ByteWriter& out) const {
    const auto counts = counted(question.get_vector<int64_t>());
    out.put(counts.size());
    for (const std::vector<int64_t>& of_bin : counts) out.put(of_bin);
  }
  void hear(ByteReader& answer) {
    std::vector<std::vector<int64_t>> counts(answer.get<size_t>());
    for (std::vector<int64_t>& of_bin : counts) of_bin = answer.get_vector<int64_t>();
    if (!counts.empty()) accumulator_.refine(counts);
  }
  /// The same where all tensors are here.
  void look_again() {
    const auto counts = counted(question());
    if (!counts.empty()) accumulator_.refine(counts);
  }
  stats::ActivationSummary finish() const { return accumulator_.finish(); }

  /// A histogram, and kept keys or their counts, of so many values.
  static int64_t held_bytes(at::ScalarType dtype, int64_t values) {
    constexpr int64_t kHistograms = int64_t{10} << 20;
    const int64_t keys = std::min(stats::Magnitudes::kKeptLimit, values);
    return kHistograms + (dtype == at::kFloat ? keys * static_cast<int64_t>(sizeof(float)) : 0);
  }

 private:
  /// [bins][keys]
  std::vector<std::vector<int64_t>> counted(const std::vector<int64_t>& bins) const {
    stats::KeySums sums(bins);
    if (!bins.empty()) kept_.for_each([&](const at::Tensor& x) { sums.add(x); });
    return sums.counts();
  }

  stats::ActivationAccumulator accumulator_;
  KeptTensors kept_;
};

}  // namespace outliers::measures
