#include "outliers/report/words.h"

#include <algorithm>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/measured.h"

namespace outliers::report {
std::string quoted(const std::string& text) {
  return fmt::format("\"{}\"", printable(text, 48));
}

std::string class_words(std::string name) {
  if (name == "cls") return "CLS";
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string token_name(const std::string& text, const std::string& token_class, int64_t token) {
  if (token_class == "cls") return "the CLS token";
  if (token_class == "register") return fmt::format("register {}", token - 1);
  if (token_class == "patch") return "patch " + printable(text, 48);
  return token == 0 ? "the initial token " + quoted(text)
                    : fmt::format("token {} {} ({})", token, quoted(text), class_words(token_class));
}

std::string token_name(const results::Input& prompt, int64_t token) {
  const auto t = static_cast<size_t>(token);
  return token_name(prompt.tokens[t], prompt.classes[t], token);
}

std::string expert_words(const results::Expert& expert) {
  return expert.is_shared() ? "the shared expert" : fmt::format("expert {}", expert.number);
}

std::string of_expert(const std::optional<results::Expert>& expert) {
  return expert ? expert_words(*expert) + "'s " : "";
}

std::string in_expert(const std::optional<results::Expert>& expert) {
  return expert ? "of " + expert_words(*expert) + " " : "";
}

std::string input_words(const results::Results& r, const std::string& name) {
  const results::Input* input = r.input(name);
  if (!r.images || input == nullptr) return printable(name, 40);
  if (!input->is_prompt()) return "all images";
  return place_of(r, *input) == 0 ? "first image" : printable(input->source, 40);
}

std::string the_input(const results::Results& r, const results::Input& input) {
  return (place_of(r, input) == 0 ? "the " : "") + printable(input.name, 40);
}

std::string layers_words(const results::Results& r) {
  const int64_t told = r.told_layers();
  return told == 1 ? "layer 0" : fmt::format("layers 0-{}", told - 1);
}

}  // namespace outliers::report
