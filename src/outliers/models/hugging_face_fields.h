// config.json as its readers see it: a JSON object in which keys have fallbacks and, by family, other names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace outliers::models {

struct Family;

/// null counts as absent, but hides the fallback, as a keyword of None does for a class of transformers.
/// Errors name file and key. The JSON outlives the object.
class Fields {
 public:
  /// `family`: whose class reads the object, and so which keys by which names; nullptr: all by their own.
  Fields(const nlohmann::json& object, const nlohmann::json* fallback, std::string where,
         const Family* family = nullptr)
      : object_(object), fallback_(fallback), where_(std::move(where)), family_(family) {}

  const std::string& where() const { return where_; }
  /// nullptr where the key is absent. Callers that cannot do without ask value().
  const nlohmann::json* find(const char* key) const;
  bool has(const char* key) const { return find(key) != nullptr; }
  const nlohmann::json& value(const char* key, const char* wanted) const;
  /// What the file itself says, nullptr where that is nothing or null.
  const nlohmann::json* stated(const char* key) const;
  /// What holds where the file says nothing.
  const nlohmann::json* fallback(const char* key) const;
  /// The name under which the file has it, or would have it.
  std::string name_of(const char* key) const;

  int64_t integer(const char* key) const;
  int64_t integer(const char* key, int64_t otherwise) const { return has(key) ? integer(key) : otherwise; }
  double number(const char* key) const;
  double number(const char* key, double otherwise) const { return has(key) ? number(key) : otherwise; }
  bool boolean(const char* key, bool otherwise) const;
  /// The same where null is false, as it is in Python.
  bool truth(const char* key, bool otherwise) const;
  std::string string(const char* key, const std::string& otherwise = "") const;
  std::vector<double> numbers(const char* key) const;
  Fields object(const char* key) const;
  /// Throws where a key of `only` (a JSON object) has another value than there: nothing else is computed.
  void require_only(const char* only) const;

 private:
  [[noreturn]] void wrong(const char* key, const char* wanted) const;
  /// In the object under one of its names, null too.
  const nlohmann::json* raw(const char* key) const;

  const nlohmann::json& object_;
  const nlohmann::json* fallback_;
  std::string where_;
  const Family* family_;
};

}  // namespace outliers::models
