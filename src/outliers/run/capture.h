// Captures: the points of one forward pass in a file, and the comparison of two such files. A capture made by
// another program (tests/oracle/capture_transformers.py) names its tensors alike, so two implementations, two
// dtypes or two files of one model can be held against each other point by point.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/models/model.h"
#include "outliers/run/points.h"
#include "outliers/run/runner.h"

namespace outliers::run {

struct CaptureOptions {
  RunOptions run;              ///< `logits` is set by the sites
  bool store_float32 = false;  ///< float32 instead of the dtype of the run
  bool force = false;          ///< replace an existing file
};

/// Runs a input and writes "ids" (and, of images, "pixel_values"), "precision" and every site under its name
/// ("layer.3.down_in", "logits") to an .npz or .safetensors file, by its ending, layer by layer: one layer's
/// tensors are in memory, never all. NumPy has no bfloat16: an .npz holds those as float32, with the same
/// values. "precision" is an int64 of the significand bits of the run's dtype (8 bfloat16, 11 float16, 24
/// float32, 53 float64).
RunTimes capture(const models::Model& model, const Input& input, const std::vector<Site>& sites,
                 const std::filesystem::path& path, const CaptureOptions& options = {});

/// How far two implementations of one dtype may differ at a point before it is worth a look.
struct CaptureTolerance {
  double whole;  ///< largest difference / largest absolute value of the tensor
  double row;    ///< the same within each row of the last dimension; not applied to attn_logits, whose rows
                 ///< can cancel to nothing
};
/// The noise of a rounding per operation over some tens of layers. float64: 1e-5 and 1e-5 (norms and angles
/// of other implementations stay in float32), float32: 1e-4 and 1e-3, float16: 1e-2 and 5e-2, bfloat16: 5e-2,
/// 2e-1.
CaptureTolerance default_tolerance(at::ScalarType dtype);

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
CaptureComparison compare_captures(const std::filesystem::path& a, const std::filesystem::path& b,
                                   const CaptureTolerance* tolerance = nullptr);

}  // namespace outliers::run
