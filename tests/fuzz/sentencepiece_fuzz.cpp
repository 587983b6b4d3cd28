// tokenizer.model: a protobuf; the tokenizer then has to encode and decode.
#include "outliers/text/tokenizer.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const text::TokenizerFiles files = {.sentencepiece_model = {reinterpret_cast<const char*>(data), size}};
    const auto tokenizer = text::Tokenizer::from_files(files);
    fuzz::attempt([&] { tokenizer->decode(tokenizer->encode(fuzz::kVariedText)); });
    tokenizer->special_tokens();
  });
  return 0;
}
