// What stands beside a tokenizer's main file: tokenizer_config.json, special_tokens_map.json and
// added_tokens.json name the special tokens, say whether a BOS or EOS is added, and list tokens added later.
// They are read as AutoTokenizer of transformers 5.23 does (tokenization_utils_base.py, _from_pretrained).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outliers/text/pipeline.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

struct TokenizerConfig {
  /// bos_token, eos_token, ... in transformers' order, then the model's own (image_token, ...). They
  /// become special whatever they say, and have no ids.
  std::vector<std::pair<std::string, AddedToken>> named;
  std::vector<AddedToken> extra;  ///< extra_special_tokens, formerly additional_special_tokens
  std::optional<bool> add_bos, add_eos, add_prefix_space, legacy;
  bool split_special_tokens = false;
  std::string tokenizer_class;     ///< without "Fast"; empty where no file says
  std::vector<AddedToken> listed;  ///< added_tokens_decoder or added_tokens.json, by their ids there

  bool has_extra = false;      ///< a file has a key of extra tokens
  bool lists_extra = false;    ///< transformers has a list of them, if an empty one, and takes no others
  bool has_code = false;       ///< auto_map names a class that is code of the repository
  int64_t extra_ids = 100;     ///< sentinels of a T5Tokenizer; read beside a SentencePiece model only
  bool has_list = false;       ///< added_tokens_decoder is there
  std::set<std::string> none;  ///< keys that are null: the class's own token does not count either

  const AddedToken* find(std::string_view key) const;
  /// The token of the class or format, where no file says anything.
  void set_default(const char* key, std::string_view content);
};

/// Whether a key is one of transformers' own: bos_token, eos_token, ...
bool is_standard_token(std::string_view key);

/// Reads the three files, each of which may be empty. special_tokens_map.json goes before
/// tokenizer_config.json, but counts, like added_tokens.json, only where the latter has no
/// added_tokens_decoder.
TokenizerConfig read_tokenizer_config(const TokenizerFiles& files);

/// The tokens of tokenizer.json, with its ids, are among those listed unless tokenizer_config.json lists
/// some.
void list_tokens(const std::vector<AddedToken>& tokens, TokenizerConfig& config);

/// Adds the configuration's tokens to parts that the main file made, as transformers does: options change,
/// tokens that nobody knows get the next free ids, whatever the files number them, and the named ones get
/// their roles.
void add_configured_tokens(const TokenizerConfig& config, Parts& parts);

/// add_bos_token and add_eos_token say what the parts put around a text, where no tokenizer.json does.
void apply_bos_and_eos(const TokenizerConfig& config, Parts& parts);

}  // namespace outliers::text
