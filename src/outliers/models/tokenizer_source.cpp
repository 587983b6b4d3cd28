#include "outliers/models/tokenizer_source.h"

#include "outliers/core/error.h"
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
  v.remove_extra_whitespaces = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces");
  return v;
}

}  // namespace

std::unique_ptr<text::Tokenizer> load_tokenizer(const io::Checkpoint& checkpoint) {
  if (const io::GgufMetadata* metadata = checkpoint.metadata()) {
    if (!metadata->has("tokenizer.ggml.tokens")) return nullptr;
    return text::Tokenizer::from_gguf(read_vocabulary(*metadata));
  }
  const std::filesystem::path directory = checkpoint.directory();
  if (!std::filesystem::exists(directory / "tokenizer.json")) return nullptr;
  const std::filesystem::path config = directory / "tokenizer_config.json";
  return text::Tokenizer::from_json(read_text_file(directory / "tokenizer.json"),
                                    std::filesystem::exists(config) ? read_text_file(config) : "");
}

}  // namespace outliers::models
