// Captures: the points of one forward pass in a file. capture_compare.h holds two of them against each other.
#pragma once

#include <filesystem>
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

}  // namespace outliers::run
