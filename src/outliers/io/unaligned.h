// Numbers of a file's bytes, which are aligned to nothing.
#pragma once

#include <cstdint>
#include <cstring>

namespace outliers::io {

/// The little-endian T at p, all of whose bytes must be there.
template <typename T>
T read_unaligned(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace outliers::io
