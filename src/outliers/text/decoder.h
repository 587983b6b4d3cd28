// Decoders: spellings of tokens -> text, a chain of steps over the list of tokens.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "outliers/text/pre_tokenizer.h"
#include "outliers/text/regex.h"

namespace outliers::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};
using DecoderPtr = std::unique_ptr<Decoder>;

DecoderPtr make_byte_level_decoder();
DecoderPtr make_byte_fallback_decoder();
DecoderPtr make_fuse_decoder();
DecoderPtr make_replace_decoder(std::string literal, std::optional<Regex> regex, std::string content);
/// Removes up to `start` / `stop` times `content` (one character) at each token's ends.
DecoderPtr make_strip_decoder(std::string content, size_t start, size_t stop);
DecoderPtr make_metaspace_decoder(std::string replacement, PrependScheme scheme);
DecoderPtr make_bpe_decoder(std::string suffix);
DecoderPtr make_decoder_sequence(std::vector<DecoderPtr> steps);
/// SentencePiece's: "▁" is a space, bytes become characters, and `front` / `back` spaces of the whole text
/// go.
DecoderPtr make_sentencepiece_decoder(size_t front, size_t back);

}  // namespace outliers::text
