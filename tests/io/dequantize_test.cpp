#include "outliers/io/dequantize.h"

#include <bit>
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "outliers/io/npz.h"

#include "support.h"

namespace outliers::io {
namespace {

// Written by tests/oracle/io_gguf_quants.py with gguf-py.
TEST(Dequantize, BitEqualToGgufPy) {
  const NpzReader golden(tests::golden("io/gguf_quants.npz"));
  int types = 0;
  for (const Encoding& encoding : encodings()) {
    const std::string name = encoding.name;
    if (!golden.has(name + ".raw")) continue;
    ++types;
    const at::Tensor raw = golden.read(name + ".raw"), values = golden.read(name + ".values");
    ASSERT_EQ(raw.numel() % encoding.bytes, 0) << name;
    const int64_t blocks = raw.numel() / encoding.bytes;
    ASSERT_EQ(blocks * encoding.elements, values.numel()) << name;
    std::vector<float> out(static_cast<size_t>(values.numel()));
    encoding.decode(raw.data_ptr<uint8_t>(), blocks, out.data());
    const float* wanted = values.data_ptr<float>();
    for (size_t i = 0; i < out.size(); ++i) {
      if (std::isnan(wanted[i]) && std::isnan(out[i])) continue;  // a NaN's sign depends on the processor
      ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(wanted[i]))
          << name << " element " << i << ": " << out[i] << ", wanted " << wanted[i];
    }
  }
  EXPECT_EQ(types, 16);
}

// All 256 values, against LibTorch's own float8 types.
TEST(Dequantize, Float8AgreesWithLibTorch) {
  const at::Tensor bits = at::arange(256, at::kByte);
  for (const auto& [name, dtype] :
       {std::pair{"F8_E4M3", at::kFloat8_e4m3fn}, std::pair{"F8_E5M2", at::kFloat8_e5m2}}) {
    const at::Tensor wanted = bits.view(dtype).to(at::kFloat);
    float out[256];
    find_encoding(name)->decode(bits.data_ptr<uint8_t>(), 256, out);
    for (int i = 0; i < 256; ++i) {
      const float w = wanted[i].item<float>();
      if (std::isnan(w)) {
        EXPECT_TRUE(std::isnan(out[i])) << name << " " << i;
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(w)) << name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace outliers::io
