#include "outliers/text/tokenizer_class.h"

#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/text/auto_class.h"
#include "outliers/text/json_node.h"
#include "outliers/text/patterns.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

// transformers/models/*/tokenization_*.py, 5.23.

void build_gpt2(const TokenizerConfig& config, Parts& parts) {
  parts.normalizer = nullptr;
  parts.pre_tokenizer = make_byte_level(config.add_prefix_space.value_or(false), true);
  parts.decoder = make_byte_level_decoder();
}

void build_gpt_neox(const TokenizerConfig& config, Parts& parts) {
  build_gpt2(config, parts);
  parts.normalizer = make_normal_form(NormalForm::nfc);
}

void build_qwen2(const TokenizerConfig& config, Parts& parts) {
  parts.normalizer = make_normal_form(NormalForm::nfc);
  std::vector<PreTokenizerPtr> steps;
  steps.push_back(make_split(Regex(qwen2_pattern), SplitBehavior::isolated, false));
  steps.push_back(make_byte_level(config.add_prefix_space.value_or(false), false));
  parts.pre_tokenizer = make_sequence(std::move(steps));
  parts.decoder = make_byte_level_decoder();
}

void build_llama(const TokenizerConfig& config, Parts& parts) {
  const bool prefix = config.add_prefix_space.value_or(true);
  const PrependScheme scheme = !prefix                         ? PrependScheme::never
                               : config.legacy.value_or(false) ? PrependScheme::always
                                                               : PrependScheme::first;
  parts.normalizer = nullptr;
  parts.pre_tokenizer = make_metaspace("▁", scheme, false);
  parts.decoder = make_sentencepiece_decoder(prefix ? 1 : 0, 0);
}

void build_gemma(const TokenizerConfig&, Parts& parts) {
  parts.normalizer = make_replace(" ", std::nullopt, "▁");
  parts.pre_tokenizer = make_split(" ", SplitBehavior::merged_with_previous, false);
  parts.decoder = make_sentencepiece_decoder(0, 0);
}

// The dummy prefix that LlamaTokenizer has without its old "legacy" behaviour.
void build_code_llama(const TokenizerConfig& config, Parts& parts) {
  const bool prefix = config.add_prefix_space.value_or(true);
  parts.pre_tokenizer = make_metaspace("▁", prefix ? PrependScheme::first : PrependScheme::never, false);
  parts.decoder = make_sentencepiece_decoder(1, 0);
}

void build_t5(const TokenizerConfig&, Parts& parts) {
  std::vector<PreTokenizerPtr> steps;
  steps.push_back(make_character_split(is_white_space, SplitBehavior::removed));
  steps.push_back(make_metaspace("▁", PrependScheme::always, true));
  parts.pre_tokenizer = make_sequence(std::move(steps));
  parts.decoder = make_metaspace_decoder("▁", PrependScheme::always);
}

const std::vector<TokenizerClass>& classes() {
  using Pieces = TokenizerClass::Pieces;
  constexpr const char* end = "<|endoftext|>";
  static const std::vector<TokenizerClass> all = {
      {.name = "GPT2Tokenizer",
       .named = {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}},
       .build = build_gpt2},
      {.name = "CodeGenTokenizer",
       .named = {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}},
       .build = build_gpt2},
      {.name = "GPTNeoXTokenizer",
       .drops_post_processor = true,
       .named = {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}, {"pad_token", "<|padding|>"}},
       .build = build_gpt_neox},
      {.name = "Qwen2Tokenizer",
       .resets_special_tokens = true,
       .named = {{"eos_token", end}, {"unk_token", end}, {"pad_token", end}},
       .build = build_qwen2},
      {.name = "LlamaTokenizer",
       .pieces = Pieces::bpe,
       .byte_fallback = true,
       .fuse_unknown = true,
       .named = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}},
       .build = build_llama},
      {.name = "CodeLlamaTokenizer",
       .pieces = Pieces::bpe,
       .only_pieces = true,
       .byte_fallback = true,
       .fuse_unknown = true,
       .has_unknown = true,
       .adds_bos = true,
       .named = {{"bos_token", "<s>"},
                 {"eos_token", "</s>"},
                 {"unk_token", "<unk>"},
                 {"prefix_token", "▁<PRE>"},
                 {"middle_token", "▁<MID>"},
                 {"suffix_token", "▁<SUF>"},
                 {"eot_token", "▁<EOT>"},
                 {"fill_token", "<FILL_ME>"}},
       .build = build_code_llama},
      {.name = "GemmaTokenizer",
       .pieces = Pieces::bpe,
       .byte_fallback = true,
       .fuse_unknown = true,
       .has_unknown = true,
       .named = {{"bos_token", "<bos>"},
                 {"eos_token", "<eos>"},
                 {"unk_token", "<unk>"},
                 {"pad_token", "<pad>"},
                 {"mask_token", "<mask>"}},
       .build = build_gemma},
      {.name = "T5Tokenizer",
       .pieces = Pieces::unigram,
       .only_pieces = true,
       .reads_spiece = true,
       .uses_charsmap = true,
       .ends_with_eos = true,
       .named = {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}},
       .build = build_t5}};
  return all;
}

// Names of the generic class.
bool is_generic_class(std::string_view name) {
  return name == "PreTrainedTokenizer" || name == "TokenizersBackend" || name == "PythonBackend" ||
         name == "BloomTokenizer";
}

std::string_view without_fast(std::string_view name) {
  return name.ends_with("Fast") ? name.substr(0, name.size() - 4) : name;
}

}  // namespace

const TokenizerClass* find_class(std::string_view name) {
  for (const TokenizerClass& known : classes()) {
    if (name == known.name) return &known;
  }
  return nullptr;
}

const TokenizerClass* class_of(const TokenizerFiles& files, const TokenizerConfig& config) {
  std::string type, model_class;
  if (!files.config_json.empty()) {
    simdjson::dom::parser parser;
    const Node root = parse_nodes(parser, files.config_json, files.folder + "config.json");
    const auto text = [&](const char* key) {
      const auto node = root.get(key);
      return node && node->value().is_string() ? std::string(node->text()) : std::string();
    };
    type = text("model_type");
    model_class = text("tokenizer_class");
  }
  const bool configured = !config.tokenizer_class.empty();
  const bool json = !files.tokenizer_json.empty(), pieces = !json && !files.sentencepiece_model.empty();
  const bool byte_level = files.tokenizer_json.find("\"ByteLevel\"") != std::string::npos;
  const auto own = class_of_model_type(type);
  std::string_view name = configured ? std::string_view(config.tokenizer_class) : without_fast(model_class);
  if (name == "LlamaTokenizer" && byte_level && !(own && own->wins)) return nullptr;
  bool by_type = own && (name.empty() || own->wins || own->name.empty());
  if (pieces && config.has_code) {
    // Code of the repository is not run unasked. Where transformers knows the model's type or the class it
    // takes its own class instead, and does not ask whether the two agree.
    require(own || find_class(name) != nullptr || is_foreign_class(name) || is_generic_class(name),
            "{}tokenizer_config.json: auto_map names a tokenizer that is code beside the model, which is not "
            "run; save tokenizer.json with transformers",
            files.folder);
    by_type = own && name.empty();
  }
  if (by_type) name = own->name;
  const TokenizerClass* const known = find_class(name);
  if (known != nullptr && !(json && known->only_pieces) &&
      !(pieces && known->pieces == TokenizerClass::Pieces::none))
    return known;
  if (known != nullptr || is_foreign_class(name)) {
    fail(kUnsupported,
         "{}{}: the tokenizer_class \"{}\"{} builds a tokenizer of its own in transformers, which is not "
         "supported{}; {}",
         files.folder, configured && !by_type ? "tokenizer_config.json" : "config.json", name,
         by_type ? fmt::format(" (of the model_type \"{}\")", printable(type)) : "",
         known != nullptr && pieces ? " from a SentencePiece model" : "",
         json ? "to read tokenizer.json as it stands, name TokenizersBackend as tokenizer_class in "
                "tokenizer_config.json"
              : "save tokenizer.json with transformers");
  }
  return nullptr;
}

void set_defaults(const TokenizerClass& own, TokenizerConfig& config) {
  for (const auto& [key, content] : own.named) config.set_default(key, content);
  // They come before those that only the files have.
  for (auto own_name = own.named.rbegin(); own_name != own.named.rend(); ++own_name) {
    const auto at = std::find_if(config.named.begin(), config.named.end(),
                                 [&](const auto& named) { return named.first == own_name->first; });
    if (at != config.named.end()) std::rotate(config.named.begin(), at, at + 1);
  }
}

void finish(const TokenizerClass& own, const TokenizerConfig& config, Parts& parts) {
  if (!own.resets_special_tokens) return;
  const auto reset = [&](const AddedToken& token) {
    add_token({.content = token.content, .special = true}, parts.model->vocabulary(), parts.added);
  };
  for (const auto& [key, token] : config.named) reset(token);
  for (const AddedToken& token : config.extra) reset(token);
}

}  // namespace outliers::text
