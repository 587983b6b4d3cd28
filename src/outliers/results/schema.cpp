// The JSON Schema, the definitions and the tables of the docs, from the table of fields.
#include <set>
#include <typeindex>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/results/json.h"
#include "outliers/results/visit.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

template <typename T>
ordered_json schema_of(const Field& field);

/// `what` with what name_of(name, number) gives in the place of each criterion.
template <typename Name>
std::string with_criteria(std::string_view what, const Criteria& criteria, Name&& name_of);

// What does not depend on a field's type is outside of templates, which there is one of for each.
class SchemaWriter {
 public:
  template <typename T>
  void operator()(const Field& field, T&) {
    add(field, schema_of<T>(field), may_be_left_out<T>(field));
  }
  ordered_json take() {
    return {{"type", "object"}, {"properties", std::move(properties_)}, {"required", std::move(required_)}};
  }

 private:
  void add(const Field& field, const ordered_json& of_type, bool may_be_left_out);

  ordered_json properties_ = ordered_json::object(), required_ = ordered_json::array();
};

void put_range(ordered_json& schema, const Field& field) {
  const auto number = [](double limit) {
    return limit == std::floor(limit) ? ordered_json(static_cast<int64_t>(limit)) : ordered_json(limit);
  };
  if (std::isfinite(field.minimum)) schema["minimum"] = number(field.minimum);
  if (std::isfinite(field.maximum)) schema["maximum"] = number(field.maximum);
}

/// What stands in many places has a schema of its own: its name, and how others refer to it.
constexpr const char *kClass = "class", *kAxis = "axis", *kExpert = "expert";
ordered_json reference(const char* name) {
  return {{"$ref", fmt::format("#/$defs/{}", name)}};
}
ordered_json shared_schemas() {
  return {{kClass, {{"enum", kClasses}}},
          {kAxis, {{"enum", kNames<Axis>}}},
          {kExpert, {{"anyOf", {{{"type", "integer"}, {"minimum", 0}}, {{"const", "shared"}}}}}}};
}

ordered_json or_null(const ordered_json& schema) {
  return {{"anyOf", {schema, {{"type", "null"}}}}};
}

ordered_json list_of(const Field& field, ordered_json items) {
  ordered_json schema = {{"type", "array"}, {"items", std::move(items)}};
  if (field.some) schema["minItems"] = 1;
  if (field.most < std::numeric_limits<size_t>::max()) schema["maxItems"] = field.most;
  return schema;
}

ordered_json by_name(const Field& field, ordered_json values) {
  ordered_json schema = {{"type", "object"}};
  if (!field.names.empty()) schema["propertyNames"]["enum"] = field.names;
  schema["additionalProperties"] = std::move(values);
  return schema;
}

ordered_json text(const Field& field) {
  ordered_json schema;
  if (field.values.empty()) {
    schema = {{"type", "string"}};
  } else if (field.values.data() == std::data(kClasses)) {
    schema = reference(kClass);
  } else {
    schema = {{"enum", field.values}};
  }
  if (field.pattern != nullptr) schema["pattern"] = field.pattern;
  return schema;
}

template <typename T>
ordered_json schema_of(const Field& field) {
  ordered_json schema;
  if constexpr (is_optional<T>) {
    schema = schema_of<typename T::value_type>(field);
    return field.null ? or_null(schema) : schema;
  } else if constexpr (is_list<T>) {
    return list_of(field, schema_of<typename T::value_type>(field));
  } else if constexpr (is_named<T>) {
    return by_name(field, schema_of<typename T::value_type::second_type>(of_named<T>(field)));
  } else if constexpr (std::is_same_v<T, Expert>) {
    schema = reference(kExpert);
  } else if constexpr (std::is_same_v<T, Axis>) {
    schema = reference(kAxis);
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
    return text(field);
  } else {
    static_assert(HasFields<T>);
    SchemaWriter writer;
    T x;
    fields(writer, x);
    schema = writer.take();
  }
  return schema;
}

/// "number", in a list or by name "numbers".
template <typename T>
std::string type_of(const Field& field, const char* plural = "") {
  if constexpr (is_optional<T>) {
    return type_of<typename T::value_type>(field, plural);
  } else if constexpr (is_list<T>) {
    return fmt::format("list{} of {}", plural, type_of<typename T::value_type>(field, "s"));
  } else if constexpr (is_named<T>) {
    return type_of<typename T::value_type::second_type>(field, "s") + " by name";
  } else if constexpr (std::is_same_v<T, Expert>) {
    return "whole number or \"shared\"";
  } else if constexpr (std::is_same_v<T, double>) {
    return fmt::format("number{}", plural);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return fmt::format("whole number{}", plural);
  } else if constexpr (std::is_same_v<T, bool>) {
    return "true or false";
  } else if constexpr (HasFields<T>) {
    return fmt::format("object{}", plural);
  } else {
    std::span<const char* const> values = field.values;
    if constexpr (std::is_enum_v<T>) values = kNames<T>;
    constexpr size_t few = 4;  // more are told in words
    if (values.empty() || values.size() > few) return fmt::format("text{}", plural);
    return fmt::format("\"{}\"", fmt::join(values, "\", \""));
  }
}

/// Walks all fields.
class Lister {
 public:
  /// `once`: of each type only where it first stands.
  explicit Lister(bool once) : once_(once) {}

  template <typename T>
  void operator()(const Field& field, T&) {
    const std::string before = path_;
    add(field, type_of<T>(field), is_optional<T>, may_be_left_out<T>(field));
    descend<T>();
    path_ = before;
  }

  std::vector<Documented> list;

 private:
  void add(const Field& field, const std::string& type, bool is_optional, bool may_be_left_out) {
    path_ += (path_.empty() ? "" : ".") + std::string(field.name);
    list.push_back({path_, type + (is_optional && field.null ? " or null" : ""), field.what, field.source,
                    may_be_left_out});
  }

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
    } else if constexpr (HasFields<T>) {
      if (!seen_.insert(typeid(T)).second && once_) return;
      T x;
      fields(*this, x);
    }
  }

  bool once_;
  std::string path_;
  std::set<std::type_index> seen_;
};

template <typename T>
std::vector<Documented> listed(bool once) {
  Lister lister(once);
  T x;
  fields(lister, x);
  return std::move(lister.list);
}

template <typename T>
ordered_json file_schema(const char* name, const char* written) {
  ordered_json schema = {
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", name},
      {"description",
       fmt::format(
           "{} Fields may be added; a changed meaning gets a new schema name. Everything counts from 0.",
           written)}};
  schema.update(schema_of<T>(field("")));
  schema["properties"]["schema"] = {{"const", name}};
  return schema;
}

template <typename Name>
class CriteriaNames {
 public:
  CriteriaNames(std::string& text, Name& name_of) : text_(text), name_of_(name_of) {}
  template <typename T>
  void operator()(const Field& field, T& x) {
    const std::string place = fmt::format("{{{}}}", field.name), name = name_of_(field.name, x);
    for (size_t at = text_.find(place); at != std::string::npos; at = text_.find(place, at + name.size())) {
      text_.replace(at, place.size(), name);
    }
  }

 private:
  std::string& text_;
  Name& name_of_;
};

template <typename Name>
std::string with_criteria(std::string_view what, const Criteria& criteria, Name&& name_of) {
  std::string text(what);
  CriteriaNames names(text, name_of);
  Criteria numbers = criteria;
  fields(names, numbers);
  return text;
}

void SchemaWriter::add(const Field& field, const ordered_json& of_type, bool may_be_left_out) {
  const std::string what = with_criteria(
      field.what, {}, [](const char* name, const auto&) { return fmt::format("criteria.{}", name); });
  ordered_json schema;
  if (!what.empty()) {
    schema["description"] = *field.source == '\0' ? what : fmt::format("{} ({})", what, field.source);
  }
  schema.update(of_type);
  properties_[field.name] = std::move(schema);
  if (!may_be_left_out) required_.push_back(field.name);
}

}  // namespace

std::string filled(std::string_view what, const Criteria& criteria) {
  return with_criteria(what, criteria,
                       [](const char*, const auto& number) { return fmt::format("{}", number); });
}

std::string schema_text(File file) {
  ordered_json schema;
  if (file == File::perplexity) {
    schema = file_schema<Perplexity>(
        kPerplexitySchema,
        "perplexity.json of `outliers perplexity`; docs/perplexity.md says more of what the numbers mean.");
  } else if (file == File::interventions) {
    schema =
        file_schema<Interventions>(kInterventionsSchema,
                                   "interventions.json of `outliers intervene`; docs/interventions.md says "
                                   "more of what the numbers mean.");
  } else {
    schema = file_schema<Results>(
        kSchema, "results.json of `outliers report`; docs/results.md says more of what the numbers mean.");
    schema["$defs"] = shared_schemas();
  }
  return schema.dump(1) + "\n";
}

std::vector<Documented> documented(File file) {
  if (file == File::interventions) return listed<Interventions>(true);
  return file == File::perplexity ? listed<Perplexity>(true) : listed<Results>(true);
}

Named<Definition> definitions(const Criteria& criteria) {
  Named<Definition> list;
  for (const Documented& entry : listed<Results>(false)) {
    const bool measured = entry.path.starts_with("layers[].") || entry.path.starts_with("summary.");
    const bool defined = !entry.source.empty() || entry.what.find('{') != std::string::npos;
    if (entry.what.empty() || !(measured || defined)) continue;
    list[entry.path] = {"", "", filled(entry.what, criteria), entry.source};
  }
  return list;
}

}  // namespace outliers::results
