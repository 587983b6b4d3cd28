// SentencePiece models: the .model file (a protobuf, sentencepiece_model.proto), and the tokenizer it makes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/pipeline.h"

namespace outliers::text {

struct SentencePieceModel {
  enum class Kind { unigram = 1, bpe = 2, word = 3, character = 4 };
  enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };

  std::vector<Piece> pieces;  ///< by id
  Kind kind = Kind::unigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string charsmap;                    ///< precompiled_charsmap; may be empty
  std::string denormalizer;                ///< of the denormalizer_spec
  int64_t bos = 1, eos = 2, padding = -1;  ///< -1: none
};

/// The contents of a .model file. Unknown fields are passed over, as protobuf does; everything else that is
/// not as sentencepiece wants it is an Error naming the place.
SentencePieceModel parse_sentencepiece(std::string_view bytes);

/// Checks the pieces (`where` is for messages) and builds model, normaliser and decoder. Control and unknown
/// pieces become special added tokens, as in transformers; a BOS or EOS is for the caller to add.
/// `prefix_at_start_only`: transformers' `legacy: false`, the dummy prefix only in front of the whole text,
/// and not in front of a space.
Parts sentencepiece_parts(const SentencePieceModel& model, std::string_view where, bool prefix_at_start_only);

}  // namespace outliers::text
