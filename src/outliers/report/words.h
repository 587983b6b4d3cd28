// How the summary calls tokens, experts, inputs and places.
#pragma once

#include <optional>
#include <string>

#include "outliers/results/results.h"

namespace outliers::report {

/// In double quotes, printable, cut.
std::string quoted(const std::string& text);

/// "strong_delimiter" as words.
std::string class_words(std::string name);

/// `the initial token "Summer"`, `token 3 "." (strong delimiter)`; `the CLS token`, `register 0`, `patch
/// r3c7`.
std::string token_name(const std::string& text, const std::string& token_class, int64_t token);
/// Of the prompt's token.
std::string token_name(const results::Input& prompt, int64_t token);

/// "expert 3", "the shared expert".
std::string expert_words(const results::Expert& expert);
/// "expert 3's ", "of the shared expert "; nothing where there is no expert.
std::string of_expert(const std::optional<results::Expert>& expert);
std::string in_expert(const std::optional<results::Expert>& expert);

/// "prompt", "corpus", "prompt2"; of a model of images "first image", "all images", a further image's name.
std::string input_words(const results::Results& r, const std::string& input);

/// "the prompt"; of several, the name of one that is not the first.
std::string the_input(const results::Results& r, const results::Input& input);

/// Layers that the summary tells of as words: "layer 0", "layers 0-3". There is one at least.
std::string layers_words(const results::Results& r);

}  // namespace outliers::report
