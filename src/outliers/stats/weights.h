// Outliers of one weight matrix: how far its largest entries stand above their row's and column's mean.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"

namespace outliers {
class ByteReader;
class ByteWriter;
}  // namespace outliers

namespace outliers::stats {

/// A column (or row) and how far its largest entry stands out.
struct WeightLine {
  int64_t index;     ///< the column (row)
  double ratio;      ///< max abs W / mean abs W over the line
  int64_t position;  ///< where in the line the largest entry is: its row (column)
  double value;      ///< that entry, signed
};

struct WeightSummary {
  double score = 0;           ///< largest max/mean over all rows and all columns (paper, section 3.2)
  bool score_is_row = false;  ///< the line the score comes from is a row, else a column
  int64_t score_index = 0;
  double max = 0, mean = 0, median = 0;           ///< of abs W, exact
  double kurtosis_pearson = 0;                    ///< of W, no epsilon; 0 where all are equal
  int64_t nonfinite = 0;                          ///< NaN and Inf, left out of everything else
  std::vector<WeightLine> top_columns, top_rows;  ///< by ratio

  /// For another process.
  void save(ByteWriter& out) const;
  static WeightSummary load(ByteReader& in);
};

/// w is [out, in] (PyTorch's Linear: column = input channel), any float dtype, CPU or CUDA.
OUTLIERS_API WeightSummary weight_summary(const at::Tensor& w, int64_t top = 10);

}  // namespace outliers::stats
