// What every scaled number format loses of a matrix product's operand, for the measures that look at them.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/bytes.h"
#include "outliers/results/results.h"
#include "outliers/stats/formats.h"

namespace outliers::measures {

class RoundingErrors {
 public:
  /// Of none yet; `rows` of K values will come at most.
  RoundingErrors(int64_t rows, int64_t K);
  /// x [rows,K], of any dtype and device: one tensor, with its own scales. What is not finite counts as 0.
  void add(const at::Tensor& x);
  void merge(const RoundingErrors& other);
  results::Rounded finish() const;

  void save(ByteWriter& out) const;
  static RoundingErrors load(ByteReader& in);
  /// Bytes, as stats::RoundingAccumulator's.
  static int64_t held_bytes(int64_t tensors, int64_t rows, int64_t K);
  static int64_t moment_bytes(int64_t rows, int64_t K);

 private:
  RoundingErrors() = default;
  std::vector<stats::RoundingAccumulator> formats_;  // in the order of the table
};

}  // namespace outliers::measures
