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
  bool byte_fallback = false;  ///< trainer_spec, like the next
  bool treat_whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string charsmap;                                 ///< precompiled_charsmap; may be empty
  std::string denormalizer;                             ///< of the denormalizer_spec
  int64_t unknown = 0, bos = 1, eos = 2, padding = -1;  ///< trainer_spec's *_id; -1: none
  std::string unknown_piece = "<unk>", bos_piece = "<s>", eos_piece = "</s>";  ///< trainer_spec's *_piece
};

/// The contents of a .model file. Unknown fields are passed over, as protobuf does; everything else that is
/// not as sentencepiece wants it is an Error naming the place.
SentencePieceModel parse_sentencepiece(std::string_view bytes);

/// The pieces by id. What sentencepiece would not open, the types WORD and CHAR and a denormalizer are
/// Errors; `where` is for messages.
Vocabulary check_sentencepiece(const SentencePieceModel& model, std::string_view where);

/// Model, normaliser and decoder as the sentencepiece program has them; checks the model first. Control and
/// unknown pieces become special added tokens, because a prompt needs them; a BOS or EOS is for the caller to
/// add.
Parts sentencepiece_parts(const SentencePieceModel& model, std::string_view where);

}  // namespace outliers::text
