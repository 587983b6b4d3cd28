// PyTorch's files: the zip archive or the legacy file, the pickle in it and the tensors it builds. Input that
// begins with neither is taken for the pickle of an archive.
#include <ATen/ATen.h>

#include "outliers/io/pickle.h"
#include "outliers/io/torch_file.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    if (size > 0 && data[0] != 'P' && data[0] != 0x80) {
      io::unpickle_state_dict({data, size}, "pickle");
      return;
    }
    const fuzz::RegularFile file(data, size);
    const auto checkpoint = io::open_torch({file.path()});
    for (const io::TensorInfo& info : checkpoint->tensors()) {
      checkpoint->load(info.name, at::kFloat);
      if (info.shape.size() >= 2 && info.shape[0] > 0) checkpoint->load_row_range(info.name, 0, 1, at::kHalf);
    }
  });
  return 0;
}
