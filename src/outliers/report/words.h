// How the summary calls tokens, experts and places.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace outliers::report {

/// In double quotes, printable, cut.
std::string quoted(const std::string& text);

/// A number of results.json by report::number().
std::string shown(const nlohmann::ordered_json& value);

/// "strong_delimiter" as words.
std::string class_words(std::string name);

/// `the initial token "Summer"`, `token 3 "." (strong delimiter)`; `the CLS token`, `register 0`, `patch
/// r3c7`.
std::string token_name(const std::string& text, const std::string& token_class, int64_t token);
/// Of the prompt's token.
std::string token_name(const nlohmann::ordered_json& prompt, int64_t token);

/// "expert 3's ", "of the shared expert "; nothing where `place` has no expert.
std::string of_expert(const nlohmann::ordered_json& place);
std::string in_expert(const nlohmann::ordered_json& place);

/// "prompt", "corpus"; of a model of images "first image", "all images".
std::string batch_words(const nlohmann::ordered_json& results, const std::string& batch);

/// results.json's summary.first_nonfinite; null where there is none, and in older reports.
const nlohmann::ordered_json& first_nonfinite(const nlohmann::ordered_json& results);
/// Layers that the summary tells of: all, or those before first_nonfinite.
size_t told_layers(const nlohmann::ordered_json& results);
/// These as words: "layer 0", "layers 0-3". There is one at least.
std::string layers_words(const nlohmann::ordered_json& results);

}  // namespace outliers::report
