#include "outliers/text/json_node.h"

#include <map>

#include "outliers/core/json.h"

namespace outliers::text {

Node parse_nodes(simdjson::dom::parser& parser, std::string_view json, const std::string& name) {
  simdjson::dom::element root;
  auto error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    const std::string strict = strict_json(json, name);
    error = parser.parse(strict).get(root);
  }
  require(error == simdjson::SUCCESS, "{}: this cannot be read as JSON: {}", name,
          simdjson::error_message(error));
  return {root, name, true};
}

Vocabulary read_json_vocabulary(const Node& node) {
  const simdjson::dom::object object = node.object();
  int64_t largest = -1;
  size_t bytes = 0;
  for (const auto field : object) {
    int64_t id = 0;
    if (field.value.get(id) != simdjson::SUCCESS || id < 0 || id > id_limit) {
      node.refuse(fmt::format("the id of \"{}\" is not a whole number from 0 to {}",
                              printable(std::string(field.key)), id_limit));
    }
    largest = std::max(largest, id);
    bytes += field.key.size();
  }
  // Spellings are kept by id: one absurd id must not take gigabytes. added_tokens.json has few tokens, with
  // high ids.
  const int64_t tokens = static_cast<int64_t>(object.size()), most = 8 * tokens + (1 << 20);
  if (largest > most) {
    node.refuse(
        fmt::format("has {} tokens and the id {}; above {} it is taken for damage", tokens, largest, most));
  }
  const auto id_of = [](const auto& field) { return static_cast<int32_t>(field.value.get_int64().value()); };
  Vocabulary vocabulary;
  vocabulary.reserve(static_cast<size_t>(largest + 1), bytes);
  for (const auto field : object) vocabulary.set(id_of(field), field.key);
  vocabulary.index();
  bool twice = false;
  for (const auto field : object) twice = twice || vocabulary.find(field.key) != id_of(field);
  if (!twice) return vocabulary;
  // Of equal keys the last counts, as in Python.
  std::map<std::string_view, int32_t> last;
  for (const auto field : object) last[field.key] = id_of(field);
  Vocabulary distinct;
  distinct.reserve(static_cast<size_t>(largest + 1), bytes);
  for (const auto& [token, id] : last) distinct.set(id, token);
  distinct.index();
  return distinct;
}

}  // namespace outliers::text
