// Text to token ids and back, with the ids of Hugging Face `tokenizers` or of sentencepiece. Byte-level BPE,
// SentencePiece BPE and Unigram, from the files of a Hugging Face folder or from a GGUF's metadata. Knows no
// files: callers hand in the bytes. docs/tokenizers.md lists what is read and what is refused.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/core/export.h"

namespace outliers::text {

/// What stands before the first token.
/// model: what the checkpoint's own tokenizer adds (post-processor, add_bos_token); always / never: exactly
/// one / no BOS, whatever the checkpoint says. `always` adds none to a text that begins with the BOS's own
/// spelling, and is an Error where there is no BOS token. EOS that a post-processor would append is kept
/// under `model` only.
enum class BosPolicy { model, always, never, last = never };
OUTLIERS_API const char* bos_policy_name(BosPolicy policy);

/// The tokenizer part of a GGUF's metadata (tokenizer.ggml.*), copied out by the caller.
struct GgufVocabulary {
  std::string where = "the GGUF";  ///< its path, for messages
  std::string model;  ///< "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "t5" (SentencePiece Unigram)
  std::string pre;    ///< pre-tokeniser name: "qwen2", "llama-bpe", "default", ...; may be empty
  std::vector<std::string> tokens;  ///< by id
  std::vector<float> scores;        ///< by id; empty where the file has none
  std::vector<int32_t> types;  ///< by id: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;  ///< "left right"; empty for SentencePiece
  std::string charsmap;             ///< precompiled_charsmap, the normalisation rules of "t5"; may be empty
  std::optional<int64_t> bos, eos, unknown, padding;
  std::map<std::string, int64_t> other_ids;  ///< of the other keys *_token_id, which are checked only
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
};

/// The contents of the tokenizer's files in a Hugging Face folder; an absent file is empty.
struct TokenizerFiles {
  std::string folder = {};       ///< with its last slash; begins the names of files in messages
  std::string config_json = {};  ///< the model's: its model_type may decide the tokenizer's class
  std::string tokenizer_json = {};
  std::string tokenizer_name = "tokenizer.json";
  std::string tokenizer_config_json = {};
  std::string special_tokens_map_json = {};
  std::string added_tokens_json = {};
  std::string sentencepiece_model = {};  ///< read only where there is no tokenizer.json, like all below
  std::string sentencepiece_name = "tokenizer.model";
  std::string vocab_json = {};
  std::string merges_txt = {};
};

struct SpecialToken {
  int32_t id;
  std::string text;
  std::string role;  ///< "bos", "eos", "unk", "pad", or "" for other added special tokens
};

/// What BosPolicy::model puts around a text.
struct Additions {
  std::vector<int32_t> before, after;
  std::string reason;  ///< what decides it: "the post-processor of tokenizer.json"
};

/// Immutable and safe to use from many threads.
class OUTLIERS_API Tokenizer {
 public:
  /// `tokenizer_json` and `tokenizer_config_json` (may be empty) are the files' contents.
  static std::unique_ptr<Tokenizer> from_json(std::string_view tokenizer_json,
                                              std::string_view tokenizer_config_json = {});
  /// From tokenizer.json; without it from a SentencePiece model, then from vocab.json and merges.txt.
  static std::unique_ptr<Tokenizer> from_files(const TokenizerFiles& files);
  /// A SentencePiece model for itself, with the ids of the sentencepiece program; beside other files it is
  /// AutoTokenizer's that count. `name` is the file's, for messages. BPE models begin every text with a BOS.
  static std::unique_ptr<Tokenizer> from_sentencepiece(std::string_view model, const std::string& name);
  static std::unique_ptr<Tokenizer> from_gguf(GgufVocabulary vocabulary);
  virtual ~Tokenizer() = default;

  /// Invalid UTF-8 is replaced by U+FFFD as Python's bytes.decode(errors="replace") does, before tokenising.
  virtual std::vector<int32_t> encode(std::string_view text, BosPolicy bos = BosPolicy::model) const = 0;
  /// Ids back to text, special tokens included; bytes that are no UTF-8 become U+FFFD.
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;
  /// The vocabulary's own spelling of a token ("Ġthe", "▁the", "<0x0A>"). Throws for an id out of range.
  virtual std::string piece(int32_t id) const = 0;
  /// The token's own bytes: a leading space kept, and nothing escaped; they may be a part of a character
  /// only.
  virtual std::string bytes(int32_t id) const = 0;
  /// The token as a reader should see it on an axis or in a table: its text with a leading space kept,
  /// control characters escaped (\n), other invisible ones as \uNNNN, and a lone part of a UTF-8 sequence as
  /// \xNN.
  virtual std::string display(int32_t id) const = 0;

  virtual int64_t size() const = 0;             ///< ids run from 0 to size()-1
  virtual std::string description() const = 0;  ///< "byte-level BPE, 151643 + 22 tokens"
  virtual std::vector<SpecialToken> special_tokens() const = 0;
  virtual std::optional<int32_t> bos() const = 0;
  virtual const Additions& additions() const = 0;
  virtual bool is_special(int32_t id) const = 0;
  /// Id of an exact vocabulary spelling, if there is one.
  virtual std::optional<int32_t> find(std::string_view piece) const = 0;
};

/// The bytes with every maximal invalid part replaced by U+FFFD (Unicode's recommended practice, as Python
/// does).
OUTLIERS_API std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace outliers::text
