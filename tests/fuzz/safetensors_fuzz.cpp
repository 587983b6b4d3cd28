// safetensors: a file, or, where the input begins with '{', the index beside a good file.
#include <ATen/ATen.h>

#include "outliers/io/safetensors.h"

#include "fuzz/target.h"

using namespace outliers;

namespace {

// A folder with one good file, for indices to point at.
const fuzz::InputFolder& folder() {
  static const fuzz::InputFolder made([](const std::filesystem::path& path) {
    io::SafetensorsWriter writer(path / "a.safetensors", true, {{"a", {2, 2}, at::kFloat}});
    writer.add("a", at::ones({2, 2}));
    writer.commit();
  });
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto load_all = [](const io::Checkpoint& checkpoint) {
    for (const io::TensorInfo& info : checkpoint.tensors()) {
      checkpoint.load(info.name, at::kFloat);
      if (info.shape.size() >= 2 && info.shape[0] > 0) checkpoint.load_row_range(info.name, 0, 1, at::kHalf);
    }
  };
  fuzz::attempt([&] {
    if (size > 0 && data[0] == '{') {
      const auto index = folder().path() / "model.safetensors.index.json";
      fuzz::write(index, data, size);
      load_all(*io::open_safetensors_index(index));
    } else {
      const fuzz::RegularFile file(data, size);
      load_all(*io::open_safetensors({file.path()}));
    }
  });
  return 0;
}
