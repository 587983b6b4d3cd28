// config.json as its readers see it: a JSON object in which keys have fallbacks and, by family, other names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace outliers::models {

/// null counts as absent, but hides the fallback. Errors name file and key. The JSON outlives the object.
class Fields {
 public:
  using Aliases =
      std::vector<std::pair<const char*, const char*>>;  // a key, and what it may be called instead

  Fields(const nlohmann::json& object, const nlohmann::json* fallback, std::string where,
         const Aliases* aliases = nullptr)
      : object_(object), fallback_(fallback), where_(std::move(where)), aliases_(aliases) {}

  const std::string& where() const { return where_; }
  const nlohmann::json* find(const char* key) const;
  bool has(const char* key) const { return find(key) != nullptr; }

  int64_t integer(const char* key) const;
  int64_t integer(const char* key, int64_t otherwise) const { return has(key) ? integer(key) : otherwise; }
  double number(const char* key) const;
  double number(const char* key, double otherwise) const { return has(key) ? number(key) : otherwise; }
  bool boolean(const char* key, bool otherwise) const;
  std::string string(const char* key, const std::string& otherwise = "") const;
  std::vector<double> numbers(const char* key) const;
  Fields object(const char* key) const;
  /// Throws where a key of `only` (a JSON object) has another value than there: nothing else is computed.
  void require_only(const char* only) const;

 private:
  const nlohmann::json& get(const char* key, const char* wanted) const;
  [[noreturn]] void wrong(const char* key, const char* wanted) const;
  /// The key under which the object has it.
  const char* name_of(const char* key) const;

  const nlohmann::json& object_;
  const nlohmann::json* fallback_;
  std::string where_;
  const Aliases* aliases_;
};

}  // namespace outliers::models
