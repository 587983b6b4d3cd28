// What number formats make of values (core/formats.h), and what is lost.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/core/formats.h"

namespace outliers {
class ByteReader;
class ByteWriter;
}  // namespace outliers

namespace outliers::stats {

/// x [rows,K] float32, all finite: a tensor whose last axis a matrix product sums over -> the values that a
/// scaled format stores for it, as float32. Rounds to nearest, ties to even, and saturates; every step is one
/// of float32. A block that K cuts short is scaled by what it has; where a scale would be 0, values become 0.
OUTLIERS_API at::Tensor rounded(const at::Tensor& x, const NumberFormat& format);

struct RoundingSummary {
  double relative_error = 0;  ///< ||x - q(x)|| / ||x||; 0 where x is
  double flushed = 0;         ///< share of the values that are not 0 that become 0
  double worst_blocks = 0;    ///< share of the squared error in the kWorstShare blocks that have most
};

/// The error of one format, over tensors that come one after another.
class OUTLIERS_API RoundingAccumulator {
 public:
  static constexpr double kWorstShare = 0.001;
  /// Of formats without blocks, errors are added up over so many values.
  static constexpr int64_t kBlock = 32;

  /// `rows`: so many will come at most, of K values each.
  RoundingAccumulator(const NumberFormat& format, int64_t rows, int64_t K);
  /// x as of rounded().
  void add(const at::Tensor& x);
  void merge(const RoundingAccumulator& other);
  RoundingSummary finish() const;

  /// For another process, which merges what it loads.
  void save(ByteWriter& out) const;
  static RoundingAccumulator load(ByteReader& in, const NumberFormat& format);
  /// Bytes that it holds of so many tensors with `rows` in all, and those of add() for a moment.
  static int64_t held_bytes(int64_t tensors, int64_t rows, int64_t K);
  static int64_t moment_bytes(int64_t rows, int64_t K);

 private:
  struct Sums {
    double error = 0, square = 0;  ///< of (x - q)^2 and x^2
    int64_t nonzero = 0, flushed = 0, blocks = 0;
  };
  RoundingAccumulator(const NumberFormat& format, int64_t most) : format_(&format), most_(most) {}
  int64_t block() const { return format_->block > 0 ? format_->block : kBlock; }
  void keep_worst(const at::Tensor& errors);

  const NumberFormat* format_;
  int64_t most_;            ///< of worst_
  std::vector<Sums> sums_;  ///< one a tensor, so that their sum does not depend on who added which
  at::Tensor worst_;        ///< the largest errors of blocks, float32 on the CPU
};

}  // namespace outliers::stats
