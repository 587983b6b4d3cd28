#include "outliers/models/hugging_face_fields.h"

#include <cmath>

#include "outliers/core/error.h"

namespace outliers::models {

using nlohmann::json;

const char* Fields::name_of(const char* key) const {
  if (aliases_ == nullptr || object_.contains(key)) return key;
  for (const auto& [ours, theirs] : *aliases_) {
    if (std::string_view(ours) == key && object_.contains(theirs)) return theirs;
  }
  return key;
}

const json* Fields::find(const char* key) const {
  if (const auto it = object_.find(name_of(key)); it != object_.end()) return it->is_null() ? nullptr : &*it;
  if (fallback_ == nullptr) return nullptr;
  const auto it = fallback_->find(key);
  return it == fallback_->end() || it->is_null() ? nullptr : &*it;
}

int64_t Fields::integer(const char* key) const {
  const json& value = get(key, "an integer");
  // Some exporters write 64.0.
  const double number = value.is_number() ? value.get<double>() : NAN;
  if (!(std::abs(number) < 9e15) || number != std::floor(number)) wrong(key, "an integer");
  return static_cast<int64_t>(number);
}

double Fields::number(const char* key) const {
  const json& value = get(key, "a number");
  if (!value.is_number()) wrong(key, "a number");
  return value.get<double>();
}

bool Fields::boolean(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const json& value = get(key, "true or false");
  if (!value.is_boolean()) wrong(key, "true or false");
  return value.get<bool>();
}

std::string Fields::string(const char* key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  const json& value = get(key, "a string");
  if (!value.is_string()) wrong(key, "a string");
  return value.get<std::string>();
}

std::vector<double> Fields::numbers(const char* key) const {
  const json& value = get(key, "a list of numbers");
  if (!value.is_array()) wrong(key, "a list of numbers");
  std::vector<double> result;
  for (const json& item : value) {
    if (!item.is_number()) wrong(key, "a list of numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

Fields Fields::object(const char* key) const {
  const json& value = get(key, "an object");
  if (!value.is_object()) wrong(key, "an object");
  return Fields(value, nullptr, where_ + ": " + key);
}

void Fields::require_only(const char* only) const {
  const json wanted = json::parse(only);
  for (const auto& [key, value] : wanted.items()) {
    const json* got = find(key.c_str());
    if (got == nullptr || *got == value) continue;
    fail("{}: '{}' of {} is not supported; known: {}", where_, key, printable(got->dump(), 40), value.dump());
  }
}

const json& Fields::get(const char* key, const char* wanted) const {
  const json* value = find(key);
  require(value != nullptr, "{}: '{}' is missing (wanted: {})", where_, key, wanted);
  return *value;
}

void Fields::wrong(const char* key, const char* wanted) const {
  fail("{}: '{}' should be {}", where_, name_of(key), wanted);
}

}  // namespace outliers::models
