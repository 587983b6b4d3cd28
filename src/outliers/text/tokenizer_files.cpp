// A tokenizer from the files of a Hugging Face folder: tokenizer.json where there is one, else what
// transformers would convert, a SentencePiece model or GPT-2's pair of vocab.json and merges.txt.
#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/text/bpe.h"
#include "outliers/text/json_node.h"
#include "outliers/text/tokenizer_class.h"
#include "outliers/text/tokenizer_config.h"
#include "outliers/text/tokenizer_sources.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

void read_merges_text(std::string_view text, const std::string& name, Bpe& model) {
  std::vector<std::string_view> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !(at == 0 && line.starts_with("#version"))) lines.push_back(line);
    at = end + 1;
  }
  model.reserve_merges(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string_view left, right;
    const bool two = split_merge(lines[i], left, right);
    if (two && model.add_merge(left, right)) continue;
    fail("{}: merge {}, \"{}\", {}", name, i, printable(std::string(lines[i])),
         two ? "names a token that is not in vocab.json" : "is not two tokens with a space between");
  }
}

std::unique_ptr<Tokenizer> from_vocabulary_and_merges(const TokenizerFiles& files) {
  TokenizerConfig config = read_tokenizer_config(files);
  const TokenizerClass* own = class_of(files, config);
  // No class means GPT-2's, whose files these were first.
  if (own == nullptr && config.tokenizer_class.empty()) own = find_class("GPT2Tokenizer");
  require(
      own != nullptr && own->pieces == TokenizerClass::Pieces::none, kUnsupported,
      "{}tokenizer_config.json: vocab.json and merges.txt are those of a \"{}\"; without tokenizer.json only "
      "GPT2Tokenizer, CodeGenTokenizer, GPTNeoXTokenizer and Qwen2Tokenizer are supported; save "
      "tokenizer.json "
      "with transformers",
      files.folder, printable(own == nullptr ? config.tokenizer_class : own->name));
  simdjson::dom::parser parser;
  const std::string name = files.folder + "vocab.json";
  auto model =
      std::make_unique<Bpe>(read_json_vocabulary(parse_nodes(parser, files.vocab_json, name)), BpeOptions());
  require(model->vocabulary().count() > 0, "{}: the vocabulary is empty", name);
  read_merges_text(files.merges_txt, files.folder + "merges.txt", *model);
  Parts parts;
  parts.where = name;
  parts.byte_level = true;
  parts.model = std::move(model);
  own->build(config, parts);
  set_defaults(*own, config);
  add_configured_tokens(config, parts);
  finish(*own, config, parts);
  apply_bos_and_eos(config, parts);
  return assemble(std::move(parts));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_files(const TokenizerFiles& files) {
  if (!files.tokenizer_json.empty()) {
    return name_file(files.folder, files.tokenizer_name, [&] { return from_tokenizer_json(files); });
  }
  if (!files.sentencepiece_model.empty()) {
    return name_file(files.folder, files.sentencepiece_name, [&] { return from_pieces(files); });
  }
  require(!files.vocab_json.empty() && !files.merges_txt.empty(),
          "a tokenizer needs tokenizer.json, tokenizer.model, or vocab.json with merges.txt");
  return name_file(files.folder, "vocab.json", [&] { return from_vocabulary_and_merges(files); });
}

}  // namespace outliers::text
