// A quantization_config and, behind a zero byte, the safetensors of the quantised weights.
#include <ATen/ATen.h>

#include "outliers/io/quantized.h"
#include "outliers/io/safetensors.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [config, tensors] = fuzz::split(data, size);
  const fuzz::RegularFile file(tensors.data(), tensors.size());
  fuzz::attempt([&, text = std::string(config)] {
    const auto checkpoint = io::dequantized(io::open_safetensors({file.path()}), text, "config.json");
    for (const io::TensorInfo& info : checkpoint->tensors()) {
      fuzz::attempt([&] { checkpoint->load(info.name, at::kFloat); });
      if (info.shape.size() >= 2 && info.shape[0] > 0)
        fuzz::attempt([&] { checkpoint->load_row_range(info.name, 0, 1, at::kHalf); });
    }
  });
  return 0;
}
