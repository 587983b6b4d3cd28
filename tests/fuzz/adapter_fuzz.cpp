// adapter_config.json and, behind a zero byte, adapter_model.safetensors, for a small base.
#include <ATen/ATen.h>

#include "outliers/io/adapter.h"
#include "outliers/io/safetensors.h"

#include "fuzz/target.h"

using namespace outliers;

namespace {

const fuzz::InputFolder& folder() {
  static const fuzz::InputFolder made([](const std::filesystem::path& path) {
    const std::vector<io::TensorPlan> plan = {{"h.0.attn.c_attn.weight", {8, 24}, at::kFloat},
                                              {"h.0.attn.c_proj.weight", {8, 8}, at::kFloat},
                                              {"h.0.mlp.c_proj.weight", {32, 8}, at::kFloat},
                                              {"ln_f.bias", {8}, at::kFloat},
                                              {"wte.weight", {11, 8}, at::kFloat}};
    io::SafetensorsWriter writer(path / "base.safetensors", true, plan);
    for (const io::TensorPlan& tensor : plan) writer.add(tensor.name, at::ones(tensor.shape));
    writer.commit();
  });
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [config, tensors] = fuzz::split(data, size);
  fuzz::write(folder().path() / "adapter_config.json", config.data(), config.size());
  fuzz::write(folder().path() / "adapter_model.safetensors", tensors.data(), tensors.size());
  fuzz::attempt([&] {
    const auto checkpoint =
        io::adapted(io::open_safetensors({folder().path() / "base.safetensors"}), folder().path());
    for (const io::TensorInfo& info : checkpoint->tensors()) checkpoint->load(info.name, at::kFloat);
  });
  return 0;
}
