// What a capture's file holds beside its points.
#pragma once

#include <cstdint>
#include <filesystem>

#include <ATen/core/Tensor.h>

namespace outliers::run {

/// What transformers calls a model's images.
inline constexpr const char* kCapturedPixels = "pixel_values";

/// By its ending .npz or .safetensors; throws for another.
bool is_npz_capture(const std::filesystem::path& path);

/// Significand bits of a dtype, by which a capture names that of its run.
int64_t precision_bits(at::ScalarType dtype);

}  // namespace outliers::run
