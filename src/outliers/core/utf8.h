// UTF-8 by the byte.
#pragma once

#include <cstddef>
#include <string_view>

namespace outliers {

/// Length of the well-formed UTF-8 sequence at `at`, or 0. Where it is 0, `broken` gets the length of the
/// maximal invalid part that one U+FFFD stands for (Unicode 15.0, section 3.9, table 3-8).
size_t valid_sequence(std::string_view bytes, size_t at, size_t* broken = nullptr);

}  // namespace outliers
