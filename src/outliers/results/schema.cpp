// The JSON Schema, the definitions and the tables of the docs, from the table of fields.
#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/results/json.h"
#include "outliers/results/visit.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

template <typename T>
ordered_json schema_of(const Field& field);

template <typename T>
concept MayBeLeftOut = is_list<T> || is_named<T> || std::is_same_v<T, std::string>;

class SchemaWriter {
 public:
  template <typename T>
  void operator()(const Field& field, T&) {
    properties_[field.name] = schema_of<T>(field);
    if ((!is_optional<T> || field.null) && !(MayBeLeftOut<T> && field.sparse))
      required_.push_back(field.name);
  }
  ordered_json take() {
    return {{"type", "object"}, {"properties", std::move(properties_)}, {"required", std::move(required_)}};
  }

 private:
  ordered_json properties_ = ordered_json::object(), required_ = ordered_json::array();
};

void put_range(ordered_json& schema, const Field& field) {
  const auto number = [](double limit) {
    return limit == std::floor(limit) ? ordered_json(static_cast<int64_t>(limit)) : ordered_json(limit);
  };
  if (std::isfinite(field.minimum)) schema["minimum"] = number(field.minimum);
  if (std::isfinite(field.maximum)) schema["maximum"] = number(field.maximum);
}

template <typename T>
ordered_json schema_of(const Field& field) {
  ordered_json schema;
  if constexpr (is_optional<T>) {
    schema = schema_of<typename T::value_type>(field);
    return field.null ? ordered_json{{"anyOf", {schema, {{"type", "null"}}}}} : schema;
  } else if constexpr (is_list<T>) {
    schema = {{"type", "array"}, {"items", schema_of<typename T::value_type>(field)}};
    if (field.some) schema["minItems"] = 1;
  } else if constexpr (is_named<T>) {
    schema = {{"type", "object"}};
    if (!field.names.empty()) schema["propertyNames"]["enum"] = field.names;
    schema["additionalProperties"] = schema_of<typename T::value_type::second_type>(
        is_optional<typename T::value_type::second_type> ? field.or_null() : field);
  } else if constexpr (std::is_same_v<T, Expert>) {
    schema = {{"anyOf", {{{"type", "integer"}, {"minimum", 0}}, {{"const", "shared"}}}}};
  } else if constexpr (std::is_enum_v<T>) {
    schema = {{"enum", kNames<T>}};
  } else if constexpr (std::is_same_v<T, double>) {
    schema = {{"type", {"number", "null"}}};
    put_range(schema, field);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    schema = {{"type", "integer"}};
    put_range(schema, field);
  } else if constexpr (std::is_same_v<T, bool>) {
    schema = {{"type", "boolean"}};
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (field.values.empty()) {
      schema = {{"type", "string"}};
    } else {
      schema = {{"enum", field.values}};
    }
  } else {
    static_assert(HasFields<T>);
    SchemaWriter writer;
    T x;
    fields(writer, x);
    schema = writer.take();
  }
  return schema;
}

template <typename T>
std::string type_of() {
  if constexpr (is_optional<T>) {
    return type_of<typename T::value_type>();
  } else if constexpr (is_list<T>) {
    return "list of " + type_of<typename T::value_type>() + "s";
  } else if constexpr (is_named<T>) {
    return type_of<typename T::value_type::second_type>() + "s by name";
  } else if constexpr (std::is_same_v<T, Expert>) {
    return "number or \"shared\"";
  } else if constexpr (std::is_same_v<T, double>) {
    return "number";
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return "whole number";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "true or false";
  } else if constexpr (HasFields<T>) {
    return "object";
  } else {
    return "text";
  }
}

/// Walks all fields, each type's once.
class Lister {
 public:
  template <typename T>
  void operator()(const Field& field, T&) {
    const std::string before = path_;
    path_ += (path_.empty() ? "" : ".") + std::string(field.name);
    list.push_back({path_, type_of<T>(), field.what, field.source});
    descend<T>();
    path_ = before;
  }

  std::vector<Documented> list;

 private:
  template <typename T>
  void descend() {
    if constexpr (is_optional<T>) {
      descend<typename T::value_type>();
    } else if constexpr (is_list<T>) {
      path_ += "[]";
      descend<typename T::value_type>();
    } else if constexpr (is_named<T>) {
      path_ += ".*";
      descend<typename T::value_type::second_type>();
    } else if constexpr (HasFields<T> && !std::is_same_v<T, Expert>) {
      static constexpr char kOnlyAddress = 0;  // one a type
      if (!seen_.insert(&kOnlyAddress).second) return;
      T x;
      fields(*this, x);
    }
  }

  std::string path_;
  std::set<const void*> seen_;
};

class CriteriaNames {
 public:
  explicit CriteriaNames(std::string& text) : text_(text) {}
  template <typename T>
  void operator()(const Field& field, T& x) {
    const std::string place = fmt::format("{{{}}}", field.name);
    for (size_t at = text_.find(place); at != std::string::npos; at = text_.find(place, at)) {
      text_.replace(at, place.size(), fmt::format("{}", x));
    }
  }

 private:
  std::string& text_;
};

}  // namespace

std::string filled(std::string_view what, const Criteria& criteria) {
  std::string text(what);
  CriteriaNames names(text);
  Criteria numbers = criteria;
  fields(names, numbers);
  return text;
}

std::string schema_text() {
  ordered_json schema = {
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", kSchema},
      {"description",
       "results.json of `outliers report`. Fields may be added; a changed meaning gets a new schema name. "
       "Everything counts from 0. docs/results.md says what each number means."}};
  schema.update(schema_of<Results>(field("")));
  schema["properties"]["schema"] = {{"const", kSchema}};
  return schema.dump(1) + "\n";
}

std::vector<Documented> documented() {
  Lister lister;
  Results results;
  fields(lister, results);
  return std::move(lister.list);
}

Named<Definition> definitions(const Criteria& criteria) {
  Named<Definition> list;
  for (const Documented& entry : documented()) {
    if (entry.source.empty() && entry.what.find('{') == std::string::npos) continue;
    list[entry.path] = {"", "", filled(entry.what, criteria), entry.source};
  }
  return list;
}

}  // namespace outliers::results
