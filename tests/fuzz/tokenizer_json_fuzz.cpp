// tokenizer.json and, behind a zero byte, tokenizer_config.json; the tokenizer then has to encode and decode.
#include "outliers/text/tokenizer.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [tokenizer_json, config_json] = fuzz::split(data, size);
  fuzz::attempt([&, json = tokenizer_json, config = config_json] {
    const auto tokenizer = text::Tokenizer::from_json(json, config);
    for (const text::BosPolicy bos : {text::BosPolicy::model, text::BosPolicy::always}) {
      fuzz::attempt([&] { tokenizer->decode(tokenizer->encode(fuzz::kVariedText, bos)); });
    }
    for (int32_t id = 0; id < std::min<int64_t>(tokenizer->size(), 64); ++id) {
      fuzz::attempt([&] { tokenizer->piece(id); });
      fuzz::attempt([&] { tokenizer->display(id); });
    }
    tokenizer->special_tokens();
    tokenizer->description();
  });
  return 0;
}
