// vocab.json and, behind a zero byte, merges.txt; the tokenizer then has to encode and decode.
#include "outliers/text/tokenizer.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [vocabulary, merges] = fuzz::split(data, size);
  fuzz::attempt([&, vocab = std::string(vocabulary), pairs = std::string(merges)] {
    const auto tokenizer = text::Tokenizer::from_files({.vocab_json = vocab, .merges_txt = pairs});
    fuzz::attempt([&] { tokenizer->decode(tokenizer->encode(fuzz::kVariedText)); });
    tokenizer->special_tokens();
  });
  return 0;
}
