// The dtypes that are computed and written in, by all the names that people give them.
#pragma once

#include <optional>
#include <string_view>

#include <c10/core/ScalarType.h>

namespace outliers {

/// float32, fp32, f32, float; bfloat16, bf16; float16, fp16, f16, half; in any case of letters. Nothing for
/// another.
std::optional<at::ScalarType> parse_dtype(std::string_view name);

/// As options and results.json call it: "float32".
const char* dtype_name(at::ScalarType dtype);

/// What parse_dtype() takes, for a message.
extern const char* const kDtypeNames;

}  // namespace outliers
