// preprocessor_config.json, then what it does to a small image.
#include <ATen/ATen.h>

#include "outliers/models/image_processor.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const models::ImageProcessor processor = models::parse_image_processor(
        {reinterpret_cast<const char*>(data), size}, "preprocessor_config.json");
    // Large ones are a matter of time alone.
    for (const int64_t edge : {processor.shortest_edge, processor.height, processor.width,
                               processor.crop_height, processor.crop_width}) {
      if (edge > 256) return;
    }
    processor(at::full({5, 9, 3}, 7, at::kByte), "image");
  });
  return 0;
}
