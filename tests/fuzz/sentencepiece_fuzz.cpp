// tokenizer.model: a protobuf, for itself and as a T5Tokenizer's and the generic class's; the tokenizer then
// has to encode and decode.
#include "outliers/text/tokenizer.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string model(reinterpret_cast<const char*>(data), size);
  const auto use = [](const text::Tokenizer& tokenizer) {
    fuzz::attempt([&] { tokenizer.decode(tokenizer.encode(fuzz::kVariedText)); });
    tokenizer.special_tokens();
  };
  fuzz::attempt([&] { use(*text::Tokenizer::from_sentencepiece(model, "tokenizer.model")); });
  for (const char* config : {"{}", R"({"tokenizer_class": "T5Tokenizer"})"}) {
    fuzz::attempt([&] {
      use(*text::Tokenizer::from_files({.tokenizer_config_json = config, .sentencepiece_model = model}));
    });
  }
  return 0;
}
