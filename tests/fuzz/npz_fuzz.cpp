// .npz: the zip archive and the .npy arrays in it.
#include <ATen/ATen.h>

#include "outliers/io/npz.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::RegularFile file(data, size);
  fuzz::attempt([&] {
    const io::NpzReader reader(file.path());
    for (const std::string& name : reader.names()) fuzz::attempt([&] { reader.read(name); });
  });
  return 0;
}
