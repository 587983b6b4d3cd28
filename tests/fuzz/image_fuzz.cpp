// PNG and JPEG files.
#include <ATen/ATen.h>

#include "outliers/io/image.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] { io::decode_image({data, size}, "image"); });
  return 0;
}
