#include "outliers/models/hugging_face_fields.h"

#include <cmath>

#include "outliers/core/error.h"
#include "outliers/models/config_keys.h"

namespace outliers::models {

using nlohmann::json;

std::string Fields::name_of(const char* key) const {
  if (family_ == nullptr) return key;
  const std::vector<std::string_view> names = names_read(*family_, key);
  for (const bool null_too : {false, true}) {
    for (const std::string_view name : names) {
      const auto it = object_.find(name);
      if (it != object_.end() && (null_too || !it->is_null())) return std::string(name);
    }
  }
  return std::string(names.empty() ? key : names.front());
}

const json* Fields::raw(const char* key) const {
  if (family_ != nullptr && names_read(*family_, key).empty()) return nullptr;
  const auto it = object_.find(name_of(key));
  return it == object_.end() ? nullptr : &*it;
}

const json* Fields::stated(const char* key) const {
  const json* value = raw(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json* Fields::find(const char* key) const {
  if (const json* value = raw(key)) return value->is_null() ? nullptr : value;
  return fallback(key);
}

const json* Fields::fallback(const char* key) const {
  if (fallback_ == nullptr) return nullptr;
  const auto it = fallback_->find(key);
  return it == fallback_->end() || it->is_null() ? nullptr : &*it;
}

int64_t Fields::integer(const char* key) const {
  const json& found = value(key, "an integer");
  // Some exporters write 64.0.
  const double number = found.is_number() ? found.get<double>() : NAN;
  if (!(std::abs(number) < 9e15) || number != std::floor(number)) wrong(key, "an integer");
  return static_cast<int64_t>(number);
}

double Fields::number(const char* key) const {
  const json& found = value(key, "a number");
  if (!found.is_number() || !std::isfinite(found.get<double>())) wrong(key, "a finite number");
  return found.get<double>();
}

bool Fields::boolean(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const json& found = value(key, "true or false");
  if (!found.is_boolean()) wrong(key, "true or false");
  return found.get<bool>();
}

bool Fields::truth(const char* key, bool otherwise) const {
  const json* found = raw(key);
  return (found == nullptr || !found->is_null()) && boolean(key, otherwise);
}

std::string Fields::string(const char* key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  const json& found = value(key, "a string");
  if (!found.is_string()) wrong(key, "a string");
  return found.get<std::string>();
}

std::vector<double> Fields::numbers(const char* key) const {
  const json& found = value(key, "a list of numbers");
  if (!found.is_array()) wrong(key, "a list of numbers");
  std::vector<double> result;
  for (const json& item : found) {
    if (!item.is_number() || !std::isfinite(item.get<double>())) wrong(key, "a list of finite numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

Fields Fields::object(const char* key) const {
  const json& found = value(key, "an object");
  if (!found.is_object()) wrong(key, "an object");
  return Fields(found, nullptr, where_ + ": " + key);
}

void Fields::require_only(const char* only) const {
  const json wanted = json::parse(only);
  for (const auto& [key, value] : wanted.items()) {
    const json* got = find(key.c_str());
    if (got == nullptr || *got == value) continue;
    fail(kUnsupported, "{}: '{}' of {} is not supported; known: {}", where_, key, printable(got->dump(), 40),
         value.dump());
  }
}

const json& Fields::value(const char* key, const char* wanted) const {
  const json* found = find(key);
  if (found == nullptr) {
    fail("{}: '{}' is {} (wanted: {})", where_, name_of(key), raw(key) != nullptr ? "null" : "missing",
         wanted);
  }
  return *found;
}

void Fields::wrong(const char* key, const char* wanted) const {
  fail("{}: '{}' should be {}", where_, name_of(key), wanted);
}

}  // namespace outliers::models
