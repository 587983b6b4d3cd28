// The tokenizer part of a real GGUF, for tests. The text room itself knows no files.
#pragma once

#include <filesystem>

#include "outliers/io/gguf.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

inline GgufVocabulary read_vocabulary(const std::filesystem::path& path) {
  const auto checkpoint = io::open_gguf(path);
  const io::GgufMetadata& metadata = *checkpoint->metadata();
  const auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  GgufVocabulary out;
  out.model = metadata.string(key("model")).value_or("");
  out.pre = metadata.string(key("pre")).value_or("");
  for (const auto token : metadata.strings(key("tokens")).value_or(std::vector<std::string_view>())) {
    out.tokens.emplace_back(token);
  }
  for (const auto merge : metadata.strings(key("merges")).value_or(std::vector<std::string_view>())) {
    out.merges.emplace_back(merge);
  }
  for (const double score : metadata.numbers(key("scores")).value_or(std::vector<double>())) {
    out.scores.push_back(static_cast<float>(score));
  }
  for (const int64_t type : metadata.integers(key("token_type")).value_or(std::vector<int64_t>())) {
    out.types.push_back(static_cast<int32_t>(type));
  }
  for (const int64_t byte : metadata.integers(key("precompiled_charsmap")).value_or(std::vector<int64_t>())) {
    out.charsmap += static_cast<char>(byte);
  }
  out.bos = metadata.integer(key("bos_token_id"));
  out.eos = metadata.integer(key("eos_token_id"));
  out.unknown = metadata.integer(key("unknown_token_id"));
  out.padding = metadata.integer(key("padding_token_id"));
  out.add_bos = metadata.boolean(key("add_bos_token"));
  out.add_eos = metadata.boolean(key("add_eos_token"));
  out.add_space_prefix = metadata.boolean(key("add_space_prefix"));
  out.remove_extra_whitespaces = metadata.boolean(key("remove_extra_whitespaces"));
  return out;
}

}  // namespace outliers::text
