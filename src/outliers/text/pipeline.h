// The tokenizer as a pipeline: added tokens, normaliser, pre-tokeniser, model, post-processor, decoder. Both
// file formats are read into the same Parts, so they cannot differ in anything but what they say.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "outliers/text/added_tokens.h"
#include "outliers/text/decoder.h"
#include "outliers/text/model.h"
#include "outliers/text/normalizer.h"
#include "outliers/text/pre_tokenizer.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

struct Parts {
  std::string where;  // the main file, for messages
  std::unique_ptr<Model> model;
  NormalizerPtr normalizer;       // null: none
  PreTokenizerPtr pre_tokenizer;  // null: none
  DecoderPtr decoder;             // null: spellings joined by spaces
  std::vector<AddedToken> added;
  std::vector<AddedToken>
      cut_out;  // found in the normalised text, spelled as they are; ordinary tokens otherwise
  Additions adds;
  bool splits_special_tokens = false;  // they are ordinary text
  std::optional<int32_t> bos, eos, unknown, padding;
  bool byte_level = false;  // spellings are in the byte alphabet
};

/// Checks the ids and builds the tokenizer.
std::unique_ptr<Tokenizer> assemble(Parts parts);

}  // namespace outliers::text
