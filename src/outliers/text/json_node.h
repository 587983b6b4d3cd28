// Reading JSON files strictly: a value with the path to it, so that every refusal says where.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <simdjson.h>

#include "outliers/core/error.h"
#include "outliers/core/warning.h"
#include "outliers/text/vocabulary.h"

namespace outliers::text {

/// Ids in files are below this.
constexpr int64_t id_limit = 1 << 26;

// A JSON value and the path to it, for messages.
class Node {
 public:
  Node(simdjson::dom::element value, std::string path, bool root = false)
      : value_(value), path_(std::move(path)), root_(root) {}

  const simdjson::dom::element& value() const { return value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_.is_null(); }

  Node child(simdjson::dom::element value, std::string_view key) const {
    return {value, fmt::format("{}{}{}", path_, root_ ? ": " : ".", printable(std::string(key)))};
  }
  [[noreturn]] void refuse(std::string_view what) const { fail("{}: {}", path_, what); }

  // Null and absent are the same: nothing.
  std::optional<Node> get(std::string_view key) const {
    std::optional<simdjson::dom::element> found;
    for (const auto field : object()) {
      if (field.key == key) found = field.value;  // the last of equal keys, as in Python
    }
    if (!found || found->is_null()) return std::nullopt;
    return child(*found, key);
  }
  Node at(std::string_view key) const {
    auto found = get(key);
    if (!found) refuse(fmt::format("\"{}\" is missing", key));
    return *found;
  }

  std::string_view text() const {
    std::string_view out;
    if (value_.get(out) != simdjson::SUCCESS) refuse("is not a string");
    return out;
  }
  bool boolean() const {
    bool out = false;
    if (value_.get(out) != simdjson::SUCCESS) refuse("is not true or false");
    return out;
  }
  int64_t integer(int64_t low, int64_t high) const {
    int64_t out = 0;
    if (value_.get(out) != simdjson::SUCCESS || out < low || out > high) {
      refuse(fmt::format("is not a whole number from {} to {}", low, high));
    }
    return out;
  }
  std::vector<Node> items() const {
    simdjson::dom::array array;
    if (value_.get(array) != simdjson::SUCCESS) refuse("is not an array");
    std::vector<Node> out;
    for (const simdjson::dom::element item : array)
      out.emplace_back(item, fmt::format("{}[{}]", path_, out.size()));
    return out;
  }

  std::string string(std::string_view key) const { return std::string(at(key).text()); }
  std::string string(std::string_view key, std::string fallback) const {
    const auto found = get(key);
    return found ? std::string(found->text()) : fallback;
  }
  bool boolean(std::string_view key) const { return at(key).boolean(); }
  bool boolean(std::string_view key, bool fallback) const {
    const auto found = get(key);
    return found ? found->boolean() : fallback;
  }

  simdjson::dom::object object() const {
    simdjson::dom::object out;
    if (value_.get(out) != simdjson::SUCCESS) refuse("is not an object");
    return out;
  }
  // Warns of every key that is not in the list: tokenizers ignores it, too.
  void only(std::initializer_list<std::string_view> keys) const {
    for (const auto field : object()) {
      if (std::find(keys.begin(), keys.end(), field.key) == keys.end())
        warn("{}: the field \"{}\" is unknown and ignored", path_, printable(std::string(field.key)));
    }
  }
  [[noreturn]] void refuse_type(std::string_view type) const {
    refuse(fmt::format("the type \"{}\" is not supported", printable(std::string(type))));
  }

 private:
  simdjson::dom::element value_;
  std::string path_;
  bool root_;  // the path is the file's alone
};

/// The root of a document; `name`, the file's, begins every path. The parser owns what Nodes show.
Node parse_nodes(simdjson::dom::parser& parser, std::string_view json, const std::string& name);

/// {"token": id, ...}; ids may have gaps.
Vocabulary read_json_vocabulary(const Node& node);

}  // namespace outliers::text
