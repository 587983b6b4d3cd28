// Encodings of tensors in files, and how each becomes numbers. Bit-equal to Python's gguf package
// (gguf.quants.dequantize): the same operations in float32, in the same order.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace outliers::io {

/// How one encoding stores numbers: blocks of `elements` in `bytes`.
struct Encoding {
  const char* name;  ///< "Q4_K"; for the dtypes of safetensors their own names: "F8_E4M3"
  int gguf_type;     ///< GGML's number, -1 where GGUF has no such type
  int64_t elements;  ///< of a block; 1 for plain dtypes
  int64_t bytes;     ///< of a block
  /// Decodes `blocks` blocks; nullptr where the values are not representable in float32 (F64, 64-bit
  /// integers).
  void (*decode)(const uint8_t* data, int64_t blocks, float* out);
};

/// All encodings, GGUF's first.
const std::vector<Encoding>& encodings();
/// nullptr when unknown.
const Encoding* find_encoding(std::string_view name);
const Encoding* find_gguf_encoding(uint32_t type);

/// The name of a GGML type that this program does not decode ("IQ2_XXS"), or "" when the number means
/// nothing.
const char* undecoded_gguf_type(uint32_t type);

}  // namespace outliers::io
