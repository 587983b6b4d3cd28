// The components of a tokenizer.json that describe themselves: normaliser, pre-tokeniser, decoder.
#pragma once

#include "outliers/text/decoder.h"
#include "outliers/text/json_node.h"
#include "outliers/text/normalizer.h"
#include "outliers/text/pre_tokenizer.h"

namespace outliers::text {

/// Each throws, naming the place, where it meets a component or value that it does not know.
NormalizerPtr read_normalizer(const Node& node);
PreTokenizerPtr read_pre_tokenizer(const Node& node);
DecoderPtr read_decoder(const Node& node);

}  // namespace outliers::text
