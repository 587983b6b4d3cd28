// A tokenizer from a GGUF's metadata. The file names its pre-tokeniser instead of describing it, so the
// patterns are listed here; each row gives what the original model's tokenizer.json does.
#include <algorithm>
#include <map>

#include "outliers/core/error.h"
#include "outliers/core/suggest.h"
#include "outliers/core/warning.h"
#include "outliers/text/bpe.h"
#include "outliers/text/patterns.h"
#include "outliers/text/pipeline.h"
#include "outliers/text/sentencepiece.h"
#include "outliers/text/tokenizer_sources.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

enum TokenType { normal = 1, unknown_type = 2, control = 3, user_defined = 4, unused = 5, byte_type = 6 };

constexpr const char* qwen35_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* deepseek3_words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

PreTokenizerPtr isolate(const char* pattern) {
  return make_split(Regex(pattern), SplitBehavior::isolated, false);
}

template <typename... Steps>
PreTokenizerPtr in_sequence(Steps... steps) {
  std::vector<PreTokenizerPtr> all;
  (all.push_back(std::move(steps)), ...);
  return make_sequence(std::move(all));
}

PreTokenizerPtr pattern_then_bytes(const char* pattern) {
  return in_sequence(isolate(pattern), make_byte_level(false, false));
}
PreTokenizerPtr gpt2_style() {
  return make_byte_level(false, true);
}
PreTokenizerPtr llama3_style() {
  return pattern_then_bytes(llama3_pattern);
}
PreTokenizerPtr qwen2_style() {
  return pattern_then_bytes(qwen2_pattern);
}
PreTokenizerPtr qwen35_style() {
  return pattern_then_bytes(qwen35_pattern);
}
PreTokenizerPtr gpt4o_style() {
  return pattern_then_bytes(gpt4o_pattern);
}
PreTokenizerPtr tekken_style() {
  return pattern_then_bytes(tekken_pattern);
}
PreTokenizerPtr starcoder_style() {
  return in_sequence(make_character_split(is_numeric, SplitBehavior::isolated), make_byte_level(false, true));
}
PreTokenizerPtr falcon_style() {
  return in_sequence(make_character_split(is_punctuation, SplitBehavior::contiguous),
                     make_byte_level(false, true),
                     make_character_split(is_numeric, SplitBehavior::contiguous), isolate("[0-9][0-9][0-9]"));
}
PreTokenizerPtr deepseek3_style() {
  return in_sequence(isolate(R"(\p{N}{1,3})"), isolate("[一-龥぀-ゟ゠-ヿ]+"), isolate(deepseek3_words),
                     make_byte_level(false, false));
}

struct PreTokenizerRow {
  PreTokenizerPtr (*make)();
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

const std::map<std::string, PreTokenizerRow>& pre_tokenizers() {
  static const PreTokenizerRow gpt2{gpt2_style}, neox{gpt2_style, true}, qwen2{qwen2_style, true},
      llama3{llama3_style, false, true, true}, cl100k{llama3_style}, gpt4o{gpt4o_style, false, true},
      starcoder{starcoder_style}, falcon{falcon_style}, tekken{tekken_style, false, true, true},
      deepseek3{deepseek3_style};
  static const std::map<std::string, PreTokenizerRow> rows = {
      {"", gpt2},
      {"default", gpt2},
      {"gpt-2", gpt2},
      {"phi-2", gpt2},
      {"roberta-bpe", gpt2},
      {"gpt-neox", neox},
      {"mpt", neox},
      {"olmo", neox},
      {"qwen2", qwen2},
      {"deepseek-r1-qwen", qwen2},
      {"megrez", qwen2},
      {"qwen35", {qwen35_style, true}},
      {"stablelm2", qwen2},
      {"llama-bpe", llama3},
      {"llama3", llama3},
      {"llama-v3", llama3},
      {"falcon3", llama3},
      {"falcon-h1", llama3},
      {"pixtral", llama3},
      {"lfm2", llama3},
      {"dbrx", cl100k},
      {"glm4", cl100k},
      {"chatglm-bpe", cl100k},
      {"smaug-bpe", {llama3_style, false, true}},
      {"gpt-4o", gpt4o},
      {"llama4", gpt4o},
      {"tekken", tekken},
      {"starcoder", starcoder},
      {"refact", starcoder},
      {"command-r", {starcoder_style, true}},
      {"smollm", starcoder},
      {"codeshell", starcoder},
      {"falcon", falcon},
      {"deepseek-v3", deepseek3},
  };
  return rows;
}

const PreTokenizerRow& pre_tokenizer_row(const std::string& name) {
  const auto& rows = pre_tokenizers();
  if (const auto row = rows.find(name); row != rows.end()) return row->second;
  std::string known;
  for (const auto& [other, row] : rows) {
    if (!other.empty()) known += (known.empty() ? "" : ", ") + other;
  }
  fail(kUnsupported, "the GGUF's tokenizer.ggml.pre is \"{}\", which is not known; known are {}",
       printable(name), known);
}

// An id outside the vocabulary is no token; converters write such for tokens that a model lacks.
void check_id(const GgufVocabulary& file, const char* key, std::optional<int64_t>& id) {
  const auto size = static_cast<int64_t>(file.tokens.size());
  if (!id || (*id >= 0 && *id < size)) return;
  warn("{}: tokenizer.ggml.{} is {}, outside the vocabulary of {} tokens; it is ignored", file.where, key,
       *id, size);
  id.reset();
}

void check_ids(GgufVocabulary& file) {
  check_id(file, "bos_token_id", file.bos);
  check_id(file, "eos_token_id", file.eos);
  check_id(file, "unknown_token_id", file.unknown);
  check_id(file, "padding_token_id", file.padding);
  for (const auto& [key, id] : file.other_ids) {
    std::optional<int64_t> value = id;
    check_id(file, key.c_str(), value);
  }
}

std::optional<int32_t> to_id(const std::optional<int64_t>& id) {
  return id ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
}

Vocabulary read_vocabulary(const GgufVocabulary& file) {
  size_t bytes = 0;
  for (const std::string& token : file.tokens) bytes += token.size();
  Vocabulary vocabulary;
  vocabulary.reserve(file.tokens.size(), bytes);
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    if (!is_valid_utf8(file.tokens[id])) {
      fail("token {} of the GGUF, {}, is not valid UTF-8", id, printable(file.tokens[id]));
    }
    vocabulary.set(static_cast<int32_t>(id), file.tokens[id]);
  }
  vocabulary.index();
  return vocabulary;
}

void add_listed_merges(Bpe& model, const std::vector<std::string>& merges) {
  model.reserve_merges(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string_view left, right;
    const bool two = split_merge(merges[i], left, right);
    if (two && model.add_merge(left, right)) continue;
    fail("merge {} of the GGUF, \"{}\", {}", i, printable(merges[i]),
         two ? "names a token that is not in the vocabulary" : "is not two tokens with a space between");
  }
}

std::vector<AddedToken> added_tokens(const GgufVocabulary& file, bool byte_level) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const int32_t type = file.types.empty() ? int32_t{normal} : file.types[id];
    const std::string& token = file.tokens[id];
    const bool special = type == control || type == unknown_type;
    // The byte alphabet has no blanks: a byte-level token spelled with them was added to the vocabulary
    // later (GPT-NeoX's runs of spaces), whatever its type says.
    const bool blank =
        byte_level && std::any_of(token.begin(), token.end(), [](char c) { return c >= 0 && c <= ' '; });
    if ((!special && type != user_defined && !blank) || token.empty()) continue;
    AddedToken one;
    one.id = static_cast<int32_t>(id);
    one.content = token;
    one.special = special;
    added.push_back(std::move(one));
  }
  return added;
}

Parts byte_level_parts(GgufVocabulary& file) {
  const PreTokenizerRow& row = pre_tokenizer_row(file.pre);
  require(!file.merges.empty(),
          "the GGUF's tokenizer is byte-level BPE, but it has no tokenizer.ggml.merges");
  Parts parts;
  parts.byte_level = true;
  BpeOptions options;
  options.ignore_merges = row.ignore_merges;
  auto model = std::make_unique<Bpe>(read_vocabulary(file), options);
  add_listed_merges(*model, file.merges);
  parts.model = std::move(model);
  parts.added = added_tokens(file, true);
  if (row.nfc) parts.normalizer = make_normal_form(NormalForm::nfc);
  parts.pre_tokenizer = row.make();
  parts.decoder = make_byte_level_decoder();
  if (!file.add_bos) {
    file.add_bos = row.add_bos && file.bos;
    parts.adds.reason = fmt::format("tokenizer.ggml.pre is \"{}\"", printable(file.pre));
  }
  return parts;
}

// Original SentencePiece models give user-defined pieces score 0, above every learned piece; converters to
// GGUF write -1000. Runs of spaces among them are spelled with spaces there and with "▁" in the original.
Parts sentencepiece_bpe_parts(GgufVocabulary& file) {
  Parts parts;
  for (size_t id = 0; id < file.types.size(); ++id) {
    if (file.types[id] != user_defined) continue;
    file.tokens[id] = replace_all(file.tokens[id], " ", std::nullopt, "▁");
    if (id < file.scores.size()) file.scores[id] = 0;
  }
  BpeOptions options;
  options.byte_fallback = true;
  options.fuse_unknown = true;
  parts.unknown = to_id(file.unknown);
  if (!parts.unknown) {
    const auto first = std::find(file.types.begin(), file.types.end(), int32_t{unknown_type});
    if (first != file.types.end()) parts.unknown = static_cast<int32_t>(first - file.types.begin());
  }
  options.unknown = parts.unknown;
  auto model = std::make_unique<Bpe>(read_vocabulary(file), options);
  if (file.merges.empty()) {
    require(file.scores.size() == file.tokens.size(),
            "the GGUF's SentencePiece tokenizer has {} tokens but {} scores", file.tokens.size(),
            file.scores.size());
    model->set_scores(std::move(file.scores));
  } else {
    add_listed_merges(*model, file.merges);
  }
  parts.model = std::move(model);
  parts.added = added_tokens(file, false);

  const bool prefix = file.add_space_prefix.value_or(true);
  std::vector<NormalizerPtr> normalizers;
  if (file.remove_extra_whitespaces.value_or(false)) {
    normalizers.push_back(make_strip(true, true));
    normalizers.push_back(make_replace("", Regex(" {2,}"), " "));
  }
  if (prefix) normalizers.push_back(make_prepend("▁"));
  normalizers.push_back(make_replace(" ", std::nullopt, "▁"));
  parts.normalizer = make_sequence(std::move(normalizers));

  parts.decoder = make_sentencepiece_decoder(prefix ? 1 : 0, 0);
  if (!file.add_bos) {
    file.add_bos = file.bos.has_value();
    parts.adds.reason = "tokenizer.ggml.model is \"llama\"";
  }
  return parts;
}

Parts unigram_parts(const GgufVocabulary& file) {
  require(file.scores.size() == file.tokens.size(),
          "the GGUF's Unigram tokenizer has {} tokens but {} scores", file.tokens.size(), file.scores.size());
  SentencePieceModel model;
  model.kind = SentencePieceModel::Kind::unigram;
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const int32_t type = file.types.empty() ? int32_t{normal} : file.types[id];
    require(type >= normal && type <= byte_type,
            "token {} of the GGUF has the type {}, which is none of 1 to 6", id, type);
    auto kind = static_cast<SentencePieceModel::Type>(type);
    if (file.types.empty() && file.unknown == static_cast<int64_t>(id))
      kind = SentencePieceModel::Type::unknown;
    model.byte_fallback = model.byte_fallback || type == byte_type;
    model.pieces.push_back({file.tokens[id], file.scores[id], kind});
  }
  model.add_dummy_prefix = file.add_space_prefix.value_or(true);
  model.remove_extra_whitespaces = file.remove_extra_whitespaces.value_or(true);
  model.charsmap = file.charsmap;
  return sentencepiece_parts(model, "the GGUF's tokenizer");
}

std::unique_ptr<Tokenizer> build(GgufVocabulary file) {
  require(!file.tokens.empty(), "the GGUF has no tokenizer.ggml.tokens");
  require(file.types.empty() || file.types.size() == file.tokens.size(),
          "the GGUF has {} tokens but {} token types", file.tokens.size(), file.types.size());
  require(
      file.model == "gpt2" || file.model == "llama" || file.model == "t5", kUnsupported,
      "the GGUF's tokenizer.ggml.model is \"{}\"; supported are gpt2 (byte-level BPE), llama (SentencePiece "
      "BPE) and t5 (SentencePiece Unigram)",
      printable(file.model));
  check_ids(file);
  Parts parts = file.model == "gpt2"    ? byte_level_parts(file)
                : file.model == "llama" ? sentencepiece_bpe_parts(file)
                                        : unigram_parts(file);
  parts.where = file.where;
  parts.bos = to_id(file.bos);
  parts.eos = to_id(file.eos);
  if (file.unknown) parts.unknown = to_id(file.unknown);
  parts.padding = to_id(file.padding);
  if (parts.adds.reason.empty()) {
    parts.adds.reason = file.add_bos || file.add_eos ? "tokenizer.ggml.add_bos_token and add_eos_token"
                                                     : "no key of the GGUF asks for one";
  }
  const auto add = [&](const char* name, std::optional<bool> wanted, std::optional<int32_t> id,
                       std::vector<int32_t>& place) {
    if (!wanted.value_or(false)) return;
    if (id) {
      place = {*id};
    } else {
      warn("{}: tokenizer.ggml.add_{}_token is true, but there is no {}_token_id; none is added", file.where,
           name, name);
    }
  };
  add("bos", file.add_bos, parts.bos, parts.adds.before);
  add("eos", file.add_eos, parts.eos, parts.adds.after);
  return assemble(std::move(parts));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_gguf(GgufVocabulary file) {
  const std::string where = file.where;
  return name_file("", where, [&] { return build(std::move(file)); });
}

}  // namespace outliers::text
