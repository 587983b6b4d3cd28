// A GGUF: its header, metadata and tensors, the configuration and the tokenizer that the metadata describe.
#include <ATen/ATen.h>

#include "outliers/io/gguf.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/tokenizer_source.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::RegularFile file(data, size);
  fuzz::attempt([&] {
    const auto checkpoint = io::open_gguf(file.path());
    for (const io::TensorInfo& info : checkpoint->tensors()) {
      checkpoint->load(info.name, at::kFloat);
      if (info.shape.size() >= 2 && info.shape[0] > 0) checkpoint->load_row_range(info.name, 0, 1, at::kHalf);
    }
    const io::GgufMetadata& metadata = *checkpoint->metadata();
    for (const std::string& key : metadata.keys()) {
      fuzz::attempt([&] { metadata.string(key); });
      fuzz::attempt([&] { metadata.integer(key); });
      fuzz::attempt([&] { metadata.number(key); });
      fuzz::attempt([&] { metadata.boolean(key); });
      fuzz::attempt([&] { metadata.strings(key); });
      fuzz::attempt([&] { metadata.integers(key); });
      fuzz::attempt([&] { metadata.numbers(key); });
      fuzz::attempt([&] { metadata.booleans(key); });
    }
    fuzz::attempt([&] { models::describe_gguf(*checkpoint); });
    fuzz::attempt([&] {
      const auto tokenizer = models::load_tokenizer(*checkpoint);
      if (tokenizer != nullptr) tokenizer->decode(tokenizer->encode("A b\xc3\xa9 12\n  c"));
    });
  });
  return 0;
}
