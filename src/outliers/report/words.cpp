#include "outliers/report/words.h"

#include <algorithm>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/numbers.h"
#include "outliers/report/results.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

std::string expert(const ordered_json& place) {
  return place["expert"].is_string() ? "the shared expert"
                                     : fmt::format("expert {}", place["expert"].get<int64_t>());
}

}  // namespace

std::string quoted(const std::string& text) {
  return fmt::format("\"{}\"", printable(text, 48));
}

std::string shown(const ordered_json& value) {
  return number(number_of(value));
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

std::string token_name(const ordered_json& prompt, int64_t token) {
  const auto t = static_cast<size_t>(token);
  return token_name(prompt["tokens"][t], prompt["classes"][t], token);
}

std::string of_expert(const ordered_json& place) {
  return place.contains("expert") ? expert(place) + "'s " : "";
}

std::string in_expert(const ordered_json& place) {
  return place.contains("expert") ? "of " + expert(place) + " " : "";
}

std::string batch_words(const ordered_json& results, const std::string& batch) {
  if (!results.contains("images")) return batch;
  return batch == "prompt" ? "first image" : "all images";
}

const ordered_json& first_nonfinite(const ordered_json& results) {
  static const ordered_json none;
  const ordered_json& summary = results["summary"];
  return summary.contains("first_nonfinite") ? summary["first_nonfinite"] : none;
}

size_t told_layers(const ordered_json& results) {
  const ordered_json& first = first_nonfinite(results);
  return first.is_null() ? results["activations"]["prompt"]["resid_out"].size()
                         : first["layer"].get<size_t>();
}

std::string layers_words(const ordered_json& results) {
  const size_t told = told_layers(results);
  return told == 1 ? "layer 0" : fmt::format("layers 0-{}", told - 1);
}

}  // namespace outliers::report
