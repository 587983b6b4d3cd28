#include "outliers/core/dtype.h"

#include <algorithm>
#include <string>

namespace outliers {

const char* const kDtypeNames = "float32 (fp32, f32, float), bfloat16 (bf16) or float16 (fp16, f16, half)";

std::optional<at::ScalarType> parse_dtype(std::string_view name) {
  struct Spelling {
    const char* name;
    at::ScalarType dtype;
  };
  constexpr Spelling spellings[] = {
      {"float32", at::kFloat},     {"fp32", at::kFloat},    {"f32", at::kFloat},    {"float", at::kFloat},
      {"bfloat16", at::kBFloat16}, {"bf16", at::kBFloat16}, {"float16", at::kHalf}, {"fp16", at::kHalf},
      {"f16", at::kHalf},          {"half", at::kHalf}};
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  for (const Spelling& spelling : spellings) {
    if (lower == spelling.name) return spelling.dtype;
  }
  return std::nullopt;
}

const char* dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

}  // namespace outliers
