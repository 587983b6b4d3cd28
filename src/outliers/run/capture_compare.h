// Two captures against each other. A capture made by another program (tests/oracle/capture_transformers.py)
// names its tensors alike, so two implementations, two dtypes or two files of one model can be compared point
// by point.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <c10/core/ScalarType.h>

#include "outliers/core/export.h"

namespace outliers::run {

/// How far two implementations of one dtype may differ at a point before it is worth a look.
struct CaptureTolerance {
  double whole;  ///< largest difference / largest absolute value of the tensor
  double row;    ///< the same within each row of the last dimension; not applied to attn_logits, whose rows
                 ///< can cancel to nothing
};
/// The noise of a rounding per operation over some tens of layers. float64: 1e-5 and 1e-5 (norms and angles
/// of other implementations stay in float32), float32: 1e-4 and 1e-3, float16: 1e-2 and 5e-2, bfloat16: 5e-2,
/// 2e-1.
OUTLIERS_API CaptureTolerance default_tolerance(at::ScalarType dtype);

/// One point of two captures, A against B (B is the reference that differences are relative to).
struct PointComparison {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype;             ///< of the coarser of the two runs
  double worst_absolute = 0;        ///< largest difference
  double worst_relative = 0;        ///< over B's largest absolute value
  double worst_row = 0;             ///< largest of each row's difference over its largest absolute value in B
  int64_t nonfinite = 0;            ///< entries finite in one and not in the other, or not finite differently
  std::vector<int64_t> place;       ///< an index into shape: of the first such entry, else of worst_absolute
  double value_a = 0, value_b = 0;  ///< there
  bool within = true;
  std::string problem;  ///< "" or why it could not be compared: "shape [1, 2] against [1, 3]"
};

struct CaptureComparison {
  std::vector<PointComparison> points;  ///< in the order of computation
  int64_t first = -1;                   ///< index of the first point that is not within tolerance; -1 = none
  std::vector<std::string> only_in_a, only_in_b;
};

/// Compares the points two captures share. `tolerance` replaces the defaults by dtype: pass nullptr for
/// those. Throws when the files are of different ids or images, or share no point.
OUTLIERS_API CaptureComparison compare_captures(const std::filesystem::path& a,
                                                const std::filesystem::path& b,
                                                const CaptureTolerance* tolerance = nullptr);

/// A row a point, tables of at most `width` columns (0: any number); of more than 40 points those within
/// tolerance are left out, unless `all`. Then what is in one of them only, and whether all points are within.
OUTLIERS_API std::string comparison_text(const CaptureComparison& comparison, size_t width, bool all = false);
/// {"first": name or null, "points": [...], "only_in_a": [...], "only_in_b": [...]}, indented.
OUTLIERS_API std::string comparison_json(const CaptureComparison& comparison);
/// "layer.3.down_in is the first point above tolerance: ..."; "" where all are within.
OUTLIERS_API std::string first_difference(const CaptureComparison& comparison);

}  // namespace outliers::run
