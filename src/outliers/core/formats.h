// The number formats that models are stored and computed in: the one table of their names, ranges and scales.
// stats/formats.h rounds to them, docs/measures.md lists them.
#pragma once

#include <array>
#include <cstdint>

#include "outliers/core/criteria.h"

namespace outliers {

/// What one value is stored as.
enum class Element { float16, bfloat16, e4m3, e5m2, int8, e2m1 };

/// How values are scaled before they are rounded; of what, is said in stats/formats.h.
enum class Scaling {
  none,                ///< they are cast as they are
  tensor,              ///< by one float32, so that the largest abs x becomes the element's largest number
  row,                 ///< by a float32 for each row, likewise
  block_e4m3,          ///< by a float8 e4m3 for each block, and all of these by one float32
  block_power_of_two,  ///< by a power of two for each block
};

struct NumberFormat {
  const char* name;   ///< in results
  const char* title;  ///< in texts
  Element element;
  double largest;  ///< finite number of the element
  Scaling scaling;
  int64_t block;    ///< values along the input dimension that share a scale; 0: not by blocks
  bool has_range;   ///< whether values are also stored in it unscaled, so that it can overflow
  const char* how;  ///< a value becomes this, in words
  const char* source;
};

inline constexpr NumberFormat kNumberFormats[] = {
    {"fp16", "float16", Element::float16, Criteria{}.fp16_max, Scaling::none, 0, true, "the nearest float16",
     "IEEE 754-2019, binary16"},
    {"bf16", "bfloat16", Element::bfloat16, 3.3895313892515355e38, Scaling::none, 0, true,
     "the nearest bfloat16", "arXiv 1905.12322"},
    {"fp8_e4m3", "float8 e4m3", Element::e4m3, Criteria{}.fp8_e4m3_max, Scaling::tensor, 0, true,
     "s e4m3(x / s), s = max abs x of the tensor / 448", "arXiv 2209.05433"},
    {"fp8_e5m2", "float8 e5m2", Element::e5m2, 57344, Scaling::none, 0, true, "the nearest float8 e5m2",
     "arXiv 2209.05433"},
    {"int8_tensor", "int8 per tensor", Element::int8, Criteria{}.int8_steps, Scaling::tensor, 0, false,
     "s round(x / s), s = max abs x of the tensor / 127", "arXiv 2208.07339, section 2"},
    {"int8_channel", "int8 per channel", Element::int8, Criteria{}.int8_steps, Scaling::row, 0, false,
     "the same with the row's s: an output channel of a weight, a token of an input",
     "arXiv 2208.07339, section 2"},
    {"nvfp4", "NVFP4", Element::e2m1, 6, Scaling::block_e4m3, 16, false,
     "s t e2m1(x / (s t)), t = max abs x of the tensor / (6 x 448), s = e4m3(max abs x of the block / 6 / t)",
     "arXiv 2509.25149"},
    {"mxfp4", "MXFP4", Element::e2m1, 6, Scaling::block_power_of_two, 32, false,
     "s e2m1(x / s), s = 2^(floor(log2(max abs x of the block)) - 2)", "arXiv 2310.10537"},
    {"mxfp8", "MXFP8", Element::e4m3, Criteria{}.fp8_e4m3_max, Scaling::block_power_of_two, 32, false,
     "s e4m3(x / s), s = 2^(floor(log2(max abs x of the block)) - 8)", "arXiv 2310.10537"},
};

namespace detail {
template <auto chosen>
constexpr auto names_of_formats() {
  constexpr size_t count = [] {
    size_t n = 0;
    for (const NumberFormat& format : kNumberFormats) n += chosen(format);
    return n;
  }();
  std::array<const char*, count> names{};
  size_t n = 0;
  for (const NumberFormat& format : kNumberFormats) {
    if (chosen(format)) names[n++] = format.name;
  }
  return names;
}
}  // namespace detail

/// Names of those that have a range, and of those that values are scaled for.
inline constexpr auto kRanges =
    detail::names_of_formats<[](const NumberFormat& format) { return format.has_range; }>();
inline constexpr auto kScaledFormats =
    detail::names_of_formats<[](const NumberFormat& format) { return format.scaling != Scaling::none; }>();

}  // namespace outliers
