// Classes of tokens and attention keys: what the tokens on which systematic outliers sit have in common.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "outliers/text/tokenizer.h"

namespace outliers::text {

/// The classes in which An et al., "Systematic Outliers in Large Language Models" (ICLR 2025, arXiv
/// 2502.06415), count the keys that gather attention; Sun et al., "Massive Activations in Large Language
/// Models" (COLM 2024, arXiv 2402.17762, section 2.2), find massive activations on the same ones: the
/// starting token, the first
/// "." or "\n", and words of weak semantics such as "and", "from", "of".
enum class TokenClass {
  initial,           ///< position 0, or the BOS wherever it stands
  strong_delimiter,  ///< ends a sentence or a line
  weak_word,         ///< a word or mark with little meaning of its own
  other,
  last = other,
};

const char* token_class_name(TokenClass value);  ///< "initial", "strong_delimiter", "weak_word", "other"

/// The class of token `id` at `position` of its window (counted from 0, a BOS included).
///
/// Neither paper lists its words, so the lists are ours. The token's text, without spaces around it and in
/// lower case, decides:
/// strong delimiter: one or more of . ! ? ; : … 。 ！ ？ ； ： and line breaks, nothing else (";" and ":"
/// part clauses as a full stop does), also behind closing quotes or brackets (".)", "?\""); weak word: an
/// English article, preposition, conjunction, pronoun, auxiliary verb, "not", "there" or "to" (122 words,
/// token_class.cpp), or a token of blanks, underscores, commas, dashes, quotes and brackets only.
TokenClass token_class(const Tokenizer& tokenizer, int32_t id, int64_t position);

/// Of every token of sequences, ids int64 [B,T]: the numbers of their classes, int64 [B,T].
at::Tensor token_classes(const Tokenizer& tokenizer, const at::Tensor& ids);

}  // namespace outliers::text
