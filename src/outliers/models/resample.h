// Resizing of 8-bit images, bit-equal to Pillow's Image.resize, which the image processors of transformers
// use.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace outliers::models {

/// By the numbers of PIL.Image.Resampling.
enum class Filter { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };

/// image uint8 [H,W,3] -> uint8 [height,width,3]. Where an image shrinks, the filters (but nearest) are
/// stretched over all pixels that count, so there is no aliasing.
at::Tensor resample(const at::Tensor& image, int64_t height, int64_t width, Filter filter);

}  // namespace outliers::models
