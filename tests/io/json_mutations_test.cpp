// The small JSON files that stand beside weights, key by key null, of another type and absent: read or
// refused.
#include "json_mutations.h"

#include <gtest/gtest.h>

#include "outliers/io/adapter.h"
#include "outliers/io/quantized.h"

#include "support.h"

namespace outliers::io {
namespace {

using nlohmann::json;

TEST(JsonMutations, OfAnAdaptersConfig) {
  const tests::ScratchDirectory scratch;
  std::filesystem::copy(tests::golden("io/adapters/plain"), scratch / "a");
  const std::filesystem::path file = scratch / "a/adapter_config.json";
  tests::Mutations mutations;
  mutations.count(json::parse(tests::read_file(file)), "adapter_", [&](const json& config) {
    tests::write_file(file, config.dump());
    adapted(Checkpoint::open(tests::golden("models/llama_untied/model.safetensors")), scratch / "a");
  });
  EXPECT_GT(mutations.read, 50u);
  EXPECT_GT(mutations.refused, 50u);
}

TEST(JsonMutations, OfAQuantization) {
  tests::Mutations mutations;
  for (const auto& entry : std::filesystem::directory_iterator(tests::golden("io/quantized"))) {
    if (entry.path().extension() != ".json") continue;
    const std::filesystem::path weights =
        std::filesystem::path(entry.path()).replace_extension(".safetensors");
    mutations.count(json::parse(tests::read_file(entry.path())), "config.json", [&](const json& config) {
      const auto checkpoint = dequantized(Checkpoint::open(weights), config.dump(), "config.json");
      for (const TensorInfo& info : checkpoint->tensors()) checkpoint->load(info.name, at::kFloat);
    });
  }
  EXPECT_GT(mutations.read, 100u);
  EXPECT_GT(mutations.refused, 100u);
}

TEST(JsonMutations, OfAnIndex) {
  const tests::ScratchDirectory scratch;
  std::filesystem::copy(tests::golden("models/llama_untied/model.safetensors"), scratch / "part.safetensors");
  json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", json::object()}};
  const auto whole = Checkpoint::open(scratch / "part.safetensors");
  for (const TensorInfo& info : whole->tensors()) index["weight_map"][info.name] = "part.safetensors";
  const std::filesystem::path file = scratch / "model.safetensors.index.json";
  tests::Mutations mutations;
  mutations.count(index, "safetensors", [&](const json& changed) {
    tests::write_file(file, changed.dump());
    Checkpoint::open(scratch.path());
  });
  EXPECT_GT(mutations.read, 5u);
  EXPECT_GT(mutations.refused, 50u);
}

}  // namespace
}  // namespace outliers::io
