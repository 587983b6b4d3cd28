#include "outliers/models/tokenizer_source.h"

#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/warning.h"
#include "outliers/io/gguf.h"

namespace outliers::models {

namespace {

template <typename To, typename From>
std::vector<To> converted(const std::optional<std::vector<From>>& values) {
  if (!values) return {};
  return std::vector<To>(values->begin(), values->end());
}

// An id that is none of the vocabulary's is no reason to stop, and neither is one that is no number.
std::optional<int64_t> special_id(const io::GgufMetadata& metadata, const std::string& key) {
  try {
    return metadata.integer(key);
  } catch (const Error& error) {
    warn("{}; it is ignored", error.what());
    return std::nullopt;
  }
}

text::GgufVocabulary read_vocabulary(const io::GgufMetadata& metadata, const std::string& where) {
  text::GgufVocabulary v;
  v.where = where;
  v.model = metadata.string("tokenizer.ggml.model").value_or("");
  v.pre = metadata.string("tokenizer.ggml.pre").value_or("");
  v.tokens = converted<std::string>(metadata.strings("tokenizer.ggml.tokens"));
  v.scores = converted<float>(metadata.numbers("tokenizer.ggml.scores"));
  v.types = converted<int32_t>(metadata.integers("tokenizer.ggml.token_type"));
  v.merges = converted<std::string>(metadata.strings("tokenizer.ggml.merges"));
  constexpr std::string_view prefix = "tokenizer.ggml.";
  for (const std::string& key : metadata.keys()) {
    if (!key.starts_with(prefix) || !key.ends_with("_token_id")) continue;
    const auto id = special_id(metadata, key);
    const std::string name = key.substr(prefix.size());
    auto* const known = name == "bos_token_id"       ? &v.bos
                        : name == "eos_token_id"     ? &v.eos
                        : name == "unknown_token_id" ? &v.unknown
                        : name == "padding_token_id" ? &v.padding
                                                     : nullptr;
    if (known != nullptr) {
      *known = id;
    } else if (id) {
      v.other_ids[name] = *id;
    }
  }
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

std::string folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? printable((file.parent_path() / "").string(), 1000) : "";
}

// nullptr when no tokenizer's files are there.
std::unique_ptr<text::Tokenizer> from_directory(const std::filesystem::path& directory) {
  const auto read = [&](const char* name) {
    const std::filesystem::path file = directory / name;
    if (!std::filesystem::exists(file)) return std::string();
    std::string text = read_own(file);
    require(!text.empty(), "{}: the file is empty", printable(file.string(), 1000));
    return text;
  };
  text::TokenizerFiles files;
  files.folder = printable((directory / "").string(), 1000);
  files.config_json = read("config.json");
  files.tokenizer_config_json = read("tokenizer_config.json");
  files.tokenizer_json = read("tokenizer.json");
  files.special_tokens_map_json = read("special_tokens_map.json");
  files.added_tokens_json = read("added_tokens.json");
  if (files.tokenizer_json.empty()) {
    files.sentencepiece_model = read("tokenizer.model");
    if (files.sentencepiece_model.empty()) {
      files.sentencepiece_name = "spiece.model";
      files.sentencepiece_model = read("spiece.model");
    }
    for (const char* other : {"tekken.json", "tiktoken.model"}) {
      require(files.sentencepiece_model.empty() || !std::filesystem::exists(directory / other),
              "{}{}: stands beside {}, and without tokenizer.json transformers reads either of the two; "
              "remove one, "
              "or save tokenizer.json",
              files.folder, other, files.sentencepiece_name);
    }
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
    return text::Tokenizer::from_gguf(
        read_vocabulary(*metadata, printable(checkpoint.path().string(), 1000)));
  }
  return from_directory(checkpoint.directory());
}

std::unique_ptr<text::Tokenizer> open_tokenizer(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  require(std::filesystem::exists(path), not_read(ENOENT), "{}: no such file or directory", name);
  require_regular(path, true);
  if (io::is_gguf(path)) {
    auto tokenizer = load_tokenizer(*io::open_gguf(path));
    require(tokenizer != nullptr, "{}: the GGUF has no tokenizer (no tokenizer.ggml.tokens in its metadata)",
            name);
    return tokenizer;
  }
  if (path.extension() == ".model") {
    return text::Tokenizer::from_sentencepiece(read_own(path),
                                               folder_of(path) + printable(path.filename().string()));
  }
  const bool directory = std::filesystem::is_directory(path);
  if (!directory && path.extension() == ".json" && !path.filename().string().ends_with(".index.json")) {
    return text::Tokenizer::from_files({.folder = folder_of(path),
                                        .tokenizer_json = read_own(path),
                                        .tokenizer_name = printable(path.filename().string())});
  }
  auto tokenizer = from_directory(directory ? path : path.parent_path());
  if (tokenizer == nullptr && directory && holds_gguf(path))
    tokenizer = load_tokenizer(*io::Checkpoint::open(path));
  require(tokenizer != nullptr, not_read(ENOENT),
          "{}: there is no tokenizer here (tokenizer.json, tokenizer.model, or vocab.json with merges.txt)",
          name);
  return tokenizer;
}

}  // namespace outliers::models
