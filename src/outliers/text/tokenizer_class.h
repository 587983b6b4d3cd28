// The class that AutoTokenizer of transformers 5.23 opens a folder with. Most classes take tokenizer.json as
// it stands; some take only its vocabulary, merges and post-processor, and build the rest themselves.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/bpe.h"
#include "outliers/text/pipeline.h"
#include "outliers/text/tokenizer_config.h"

namespace outliers::text {

/// A class that builds its own pipeline.
struct TokenizerClass {
  /// Its model of the pieces of a SentencePiece file, of whatever type that is; none: the class is
  /// byte-level.
  enum class Pieces { none, bpe, unigram };

  const char* name;
  Pieces pieces = Pieces::none;
  bool only_pieces = false;    ///< tokenizer.json is refused
  bool reads_spiece = false;   ///< looks for spiece.model beside tokenizer.model
  bool uses_charsmap = false;  ///< normalises by the SentencePiece file's precompiled_charsmap
  bool byte_fallback = false, fuse_unknown = false, has_unknown = false;  ///< of its BPE model
  bool drops_post_processor = false;
  bool resets_special_tokens = false;  ///< special tokens lose the options that files give them
  bool adds_bos = false;               ///< unless add_bos_token says no
  bool ends_with_eos = false;          ///< whatever add_eos_token says
  std::vector<std::pair<const char*, const char*>> named = {};  ///< bos_token, ... where no file names one
  void (*build)(const TokenizerConfig& config, Parts& parts);   ///< normaliser, pre-tokeniser, decoder
};

/// By its name without "Fast"; nullptr where there is none.
const TokenizerClass* find_class(std::string_view name);

/// The class of a folder; nullptr: the generic one, for which tokenizer.json counts as it stands. config.json
/// has a say, too. A class whose pipeline is not known here is an Error that names it.
const TokenizerClass* class_of(const TokenizerFiles& files, const TokenizerConfig& config);

/// The class's own special tokens, where no file names one.
void set_defaults(const TokenizerClass& own, TokenizerConfig& config);

/// What a class does once all tokens are there.
void finish(const TokenizerClass& own, const TokenizerConfig& config, Parts& parts);

}  // namespace outliers::text
