#include "outliers/text/tokenizer_class.h"

#include <algorithm>
#include <map>
#include <set>

#include "outliers/core/error.h"
#include "outliers/text/json_node.h"
#include "outliers/text/patterns.h"

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

const std::vector<TokenizerClass>& classes() {
  using Named = std::vector<std::pair<const char*, const char*>>;
  constexpr const char* end = "<|endoftext|>";
  const Named ends = {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}};
  static const std::vector<TokenizerClass> all = {
      {"GPT2Tokenizer", false, false, false, false, false, ends, build_gpt2},
      {"CodeGenTokenizer", false, false, false, false, false, ends, build_gpt2},
      {"GPTNeoXTokenizer",
       false,
       false,
       false,
       true,
       false,
       {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}, {"pad_token", "<|padding|>"}},
       build_gpt_neox},
      {"Qwen2Tokenizer",
       false,
       false,
       false,
       false,
       true,
       {{"eos_token", end}, {"unk_token", end}, {"pad_token", end}},
       build_qwen2},
      {"LlamaTokenizer",
       true,
       true,
       false,
       false,
       false,
       {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}},
       build_llama},
      {"GemmaTokenizer",
       true,
       true,
       true,
       false,
       false,
       {{"bos_token", "<bos>"},
        {"eos_token", "<eos>"},
        {"unk_token", "<unk>"},
        {"pad_token", "<pad>"},
        {"mask_token", "<mask>"}},
       build_gemma}};
  return all;
}

// Other classes of transformers with a pipeline of their own.
bool is_foreign(std::string_view name) {
  static const std::set<std::string_view> all = {"AlbertTokenizer",
                                                 "BartTokenizer",
                                                 "BarthezTokenizer",
                                                 "BartphoTokenizer",
                                                 "BertGenerationTokenizer",
                                                 "BertJapaneseTokenizer",
                                                 "BertTokenizer",
                                                 "BertweetTokenizer",
                                                 "BigBirdTokenizer",
                                                 "BioGptTokenizer",
                                                 "BlenderbotSmallTokenizer",
                                                 "BlenderbotTokenizer",
                                                 "ByT5Tokenizer",
                                                 "CLIPTokenizer",
                                                 "CTRLTokenizer",
                                                 "CamembertTokenizer",
                                                 "CanineTokenizer",
                                                 "ClvpTokenizer",
                                                 "CodeLlamaTokenizer",
                                                 "CohereTokenizer",
                                                 "CpmAntTokenizer",
                                                 "CpmTokenizer",
                                                 "DPRQuestionEncoderTokenizer",
                                                 "DebertaTokenizer",
                                                 "DebertaV2Tokenizer",
                                                 "DiaTokenizer",
                                                 "EsmTokenizer",
                                                 "EsmcTokenizer",
                                                 "FNetTokenizer",
                                                 "FSMTTokenizer",
                                                 "FlaubertTokenizer",
                                                 "FunnelTokenizer",
                                                 "GPTNeoXJapaneseTokenizer",
                                                 "GPTSw3Tokenizer",
                                                 "HerbertTokenizer",
                                                 "LEDTokenizer",
                                                 "LasrTokenizer",
                                                 "LayoutLMv2Tokenizer",
                                                 "LayoutLMv3Tokenizer",
                                                 "LayoutXLMTokenizer",
                                                 "LukeTokenizer",
                                                 "LxmertTokenizer",
                                                 "M2M100Tokenizer",
                                                 "MBart50Tokenizer",
                                                 "MBartTokenizer",
                                                 "MLukeTokenizer",
                                                 "MPNetTokenizer",
                                                 "MarianTokenizer",
                                                 "MarkupLMTokenizer",
                                                 "MgpstrTokenizer",
                                                 "MobileBertTokenizer",
                                                 "MvpTokenizer",
                                                 "MyT5Tokenizer",
                                                 "NllbTokenizer",
                                                 "NougatTokenizer",
                                                 "OpenAIGPTTokenizer",
                                                 "PLBartTokenizer",
                                                 "PegasusTokenizer",
                                                 "PerceiverTokenizer",
                                                 "PhobertTokenizer",
                                                 "ProphetNetTokenizer",
                                                 "Qwen3_5Tokenizer",
                                                 "RagTokenizer",
                                                 "ReformerTokenizer",
                                                 "RemBertTokenizer",
                                                 "RoCBertTokenizer",
                                                 "RoFormerTokenizer",
                                                 "RobertaTokenizer",
                                                 "SeamlessM4TTokenizer",
                                                 "Siglip2Tokenizer",
                                                 "SiglipTokenizer",
                                                 "Speech2TextTokenizer",
                                                 "SpeechT5Tokenizer",
                                                 "SplinterTokenizer",
                                                 "T5Tokenizer",
                                                 "TapasTokenizer",
                                                 "Tipsv2Tokenizer",
                                                 "UdopTokenizer",
                                                 "VideoPrismTokenizer",
                                                 "VitsTokenizer",
                                                 "Wav2Vec2CTCTokenizer",
                                                 "Wav2Vec2PhonemeCTCTokenizer",
                                                 "WhisperTokenizer",
                                                 "XGLMTokenizer",
                                                 "XLMRobertaTokenizer",
                                                 "XLMTokenizer",
                                                 "XLNetTokenizer"};
  return all.count(name) > 0;
}

// models/auto/tokenization_auto.py: the class of a model_type; "" takes tokenizer.json as it stands.
struct Registered {
  const char* name;
  bool wins = false;  ///< over the files' class, which is known to be wrong on the Hub
};
const Registered* registered(std::string_view model_type) {
  static const std::map<std::string_view, Registered> all = {{"gemma", {"GemmaTokenizer"}},
                                                             {"gemma2", {"GemmaTokenizer"}},
                                                             {"gemma3", {"GemmaTokenizer"}},
                                                             {"gemma3_text", {"GemmaTokenizer"}},
                                                             {"gpt2", {"GPT2Tokenizer"}},
                                                             {"gpt_neox", {"GPTNeoXTokenizer"}},
                                                             {"mistral", {""}},
                                                             {"mixtral", {""}},
                                                             {"mpt", {"GPTNeoXTokenizer"}},
                                                             {"olmo", {"GPTNeoXTokenizer"}},
                                                             {"olmo2", {""}},
                                                             {"opt", {"GPT2Tokenizer"}},
                                                             {"phi", {"GPT2Tokenizer"}},
                                                             {"phi3", {"", true}},
                                                             {"phimoe", {"", true}},
                                                             {"qwen2", {"Qwen2Tokenizer", true}},
                                                             {"qwen2_moe", {"Qwen2Tokenizer"}},
                                                             {"qwen3", {"Qwen2Tokenizer"}},
                                                             {"qwen3_moe", {"Qwen2Tokenizer"}},
                                                             {"stablelm", {""}}};
  const auto found = all.find(model_type);
  return found == all.end() ? nullptr : &found->second;
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
  const bool byte_level = files.tokenizer_json.find("\"ByteLevel\"") != std::string::npos;
  const Registered* const own = registered(type);
  std::string_view name = configured ? std::string_view(config.tokenizer_class) : without_fast(model_class);
  if (name == "LlamaTokenizer" && byte_level && (own == nullptr || !own->wins)) return nullptr;
  if (own != nullptr && (name.empty() || own->wins || own->name == std::string_view())) name = own->name;
  if (const TokenizerClass* known = find_class(name)) return known;
  if (is_foreign(name)) {
    fail(
        "{}{}: the tokenizer_class \"{}\" builds a tokenizer of its own in transformers, which is not "
        "supported; {}",
        files.folder, configured ? "tokenizer_config.json" : "config.json", name,
        files.tokenizer_json.empty() ? "save tokenizer.json with transformers"
                                     : "remove the key to read tokenizer.json as it stands");
  }
  return nullptr;
}

void set_defaults(const TokenizerClass& own, TokenizerConfig& config) {
  for (const auto& [key, content] : own.named) config.set_default(key, content);
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
