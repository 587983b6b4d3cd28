// config.json as Hugging Face writes it.
#include "outliers/models/config_reader.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    models::describe_hugging_face({reinterpret_cast<const char*>(data), size}, "config.json");
  });
  return 0;
}
