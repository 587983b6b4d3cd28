#include "outliers/models/tokenizer_source.h"

#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"
#include "outliers/io/gguf.h"
#include "outliers/models/files.h"

namespace outliers::models {

namespace {

template <typename To, typename From>
std::vector<To> converted(const std::optional<std::vector<From>>& values) {
  if (!values) return {};
  return std::vector<To>(values->begin(), values->end());
}

text::GgufVocabulary read_vocabulary(const io::GgufMetadata& metadata) {
  text::GgufVocabulary v;
  v.model = metadata.string("tokenizer.ggml.model").value_or("");
  v.pre = metadata.string("tokenizer.ggml.pre").value_or("");
  v.tokens = converted<std::string>(metadata.strings("tokenizer.ggml.tokens"));
  v.scores = converted<float>(metadata.numbers("tokenizer.ggml.scores"));
  v.types = converted<int32_t>(metadata.integers("tokenizer.ggml.token_type"));
  v.merges = converted<std::string>(metadata.strings("tokenizer.ggml.merges"));
  v.bos = metadata.integer("tokenizer.ggml.bos_token_id");
  v.eos = metadata.integer("tokenizer.ggml.eos_token_id");
  v.unknown = metadata.integer("tokenizer.ggml.unknown_token_id");
  v.padding = metadata.integer("tokenizer.ggml.padding_token_id");
  v.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token");
  v.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token");
  v.add_space_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix");
  for (const int64_t byte :
       metadata.integers("tokenizer.ggml.precompiled_charsmap").value_or(std::vector<int64_t>())) {
    v.charsmap += static_cast<char>(byte);
  }
  v.remove_extra_whitespaces = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces");
  return v;
}

// nullptr when no tokenizer's files are there.
std::unique_ptr<text::Tokenizer> from_directory(const std::filesystem::path& directory) {
  const auto read = [&](const char* name) {
    return std::filesystem::exists(directory / name) ? read_text_file(directory / name) : std::string();
  };
  text::TokenizerFiles files;
  files.tokenizer_config_json = read("tokenizer_config.json");
  files.tokenizer_json = read("tokenizer.json");
  if (files.tokenizer_json.empty()) {
    files.special_tokens_map_json = read("special_tokens_map.json");
    files.added_tokens_json = read("added_tokens.json");
    files.sentencepiece_model = read("tokenizer.model");
    if (files.sentencepiece_model.empty()) files.sentencepiece_model = read("spiece.model");
    if (files.sentencepiece_model.empty()) {
      files.vocab_json = read("vocab.json");
      files.merges_txt = read("merges.txt");
      if (files.vocab_json.empty() || files.merges_txt.empty()) return nullptr;
    }
  }
  return text::Tokenizer::from_files(files);
}

bool holds_gguf(const std::filesystem::path& directory) {
  const std::filesystem::directory_iterator entries(directory);
  return std::any_of(begin(entries), end(entries),
                     [](const auto& entry) { return entry.path().extension() == ".gguf"; });
}

}  // namespace

std::unique_ptr<text::Tokenizer> load_tokenizer(const io::Checkpoint& checkpoint) {
  if (const io::GgufMetadata* metadata = checkpoint.metadata()) {
    if (!metadata->has("tokenizer.ggml.tokens")) return nullptr;
    return text::Tokenizer::from_gguf(read_vocabulary(*metadata));
  }
  return from_directory(checkpoint.directory());
}

std::unique_ptr<text::Tokenizer> open_tokenizer(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  require(std::filesystem::exists(path), "{}: no such file or directory", name);
  require_regular(path, true);
  if (io::is_gguf(path)) {
    auto tokenizer = load_tokenizer(*io::open_gguf(path));
    require(tokenizer != nullptr, "{}: the GGUF has no tokenizer (no tokenizer.ggml.tokens in its metadata)",
            name);
    return tokenizer;
  }
  if (path.extension() == ".model") {
    return text::Tokenizer::from_files({.sentencepiece_model = read_text_file(path)});
  }
  const bool directory = std::filesystem::is_directory(path);
  if (!directory && path.extension() == ".json" && !path.filename().string().ends_with(".index.json")) {
    return text::Tokenizer::from_json(read_text_file(path));
  }
  auto tokenizer = from_directory(directory ? path : path.parent_path());
  if (tokenizer == nullptr && directory && holds_gguf(path))
    tokenizer = load_tokenizer(*io::Checkpoint::open(path));
  require(tokenizer != nullptr,
          "{}: there is no tokenizer here (tokenizer.json, tokenizer.model, or vocab.json with merges.txt)",
          name);
  return tokenizer;
}

}  // namespace outliers::models
