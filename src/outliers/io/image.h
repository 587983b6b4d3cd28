// Images: PNG (libpng) and JPEG (libjpeg-turbo) to RGB, eight bits each, as Pillow's convert("RGB") gives it.
// What readers take for different pixels is refused: transparency, 16-bit grey, CMYK. Gamma and colour
// profiles are left out of account, as Pillow does. The Exif orientation is applied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

namespace outliers::io {

/// More pixels than this are an Error; nothing is allocated before the check.
inline constexpr int64_t kLargestImage = int64_t{1} << 26;

/// PNG or JPEG, by the first bytes -> uint8 [H,W,3], upright. `where` names the file in messages. Throws for
/// other formats, damaged or cut-off files, more than `most` pixels (before any is decoded), and what the
/// head of this file lists.
at::Tensor decode_image(std::span<const uint8_t> bytes, const std::string& where,
                        int64_t most = kLargestImage);
/// The same of a file.
at::Tensor read_image(const std::filesystem::path& path, int64_t most = kLargestImage);
/// Throws where an image has no pixels, or more than `most`.
void check_image_size(int64_t height, int64_t width, int64_t most, const std::string& where);

}  // namespace outliers::io
