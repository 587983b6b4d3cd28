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
  const char* name;
  bool byte_fallback, fuse_unknown, has_unknown;  ///< of its BPE model
  bool drops_post_processor;
  bool resets_special_tokens;  ///< special tokens lose the options that files give them
  std::vector<std::pair<const char*, const char*>> named;      ///< bos_token, ... where no file names one
  void (*build)(const TokenizerConfig& config, Parts& parts);  ///< normaliser, pre-tokeniser, decoder
};

/// By its name without "Fast"; nullptr where there is none.
const TokenizerClass* find_class(std::string_view name);

/// The class of a folder; nullptr: tokenizer.json counts as it stands. config.json has a say, too. A class
/// whose pipeline is not known here is an Error that names it.
const TokenizerClass* class_of(const TokenizerFiles& files, const TokenizerConfig& config);

/// The class's own special tokens, where no file names one.
void set_defaults(const TokenizerClass& own, TokenizerConfig& config);

/// What a class does once all tokens are there.
void finish(const TokenizerClass& own, const TokenizerConfig& config, Parts& parts);

}  // namespace outliers::text
