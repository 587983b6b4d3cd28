// What stands beside a tokenizer's main file: tokenizer_config.json, special_tokens_map.json and
// added_tokens.json name the special tokens, say whether a BOS or EOS is added, and list tokens added later.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/pipeline.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

struct TokenizerConfig {
  struct Role {
    std::optional<AddedToken> token;  ///< without an id
    std::string path;                 ///< where it stands, for messages
  };
  Role bos, eos, unknown, padding;
  std::optional<bool> add_bos, add_eos, add_prefix_space, legacy;
  std::string tokenizer_class;    ///< without "Fast"; empty where no file says
  std::vector<AddedToken> added;  ///< with ids, in their order
};

/// Reads the three files, each of which may be empty. tokenizer_config.json goes before
/// special_tokens_map.json.
TokenizerConfig read_tokenizer_config(const TokenizerFiles& files);

/// The id of an added token or vocabulary entry.
std::optional<int32_t> find_token(const Parts& parts, std::string_view content);

/// Adds the configuration's tokens to parts that a vocabulary file made, the roles' tokens among them, as
/// transformers does: tokens that nobody knows yet get the next free ids.
void add_configured_tokens(const TokenizerConfig& config, Parts& parts);

/// add_bos_token and add_eos_token overrule what the parts put around a text.
void apply_bos_and_eos(const TokenizerConfig& config, Parts& parts);

}  // namespace outliers::text
