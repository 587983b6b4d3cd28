#include "outliers/results/json_read.h"

#include <algorithm>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/regular_file.h"
#include "outliers/results/json.h"
#include "outliers/results/visit.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

/// Where a reader is: what errors name.
struct At {
  const std::string& file;
  std::string path;

  At child(std::string_view name) const {
    return {file, path.empty() ? printable(std::string(name)) : path + "." + printable(std::string(name))};
  }
  At child(size_t index) const { return {file, fmt::format("{}[{}]", path, index)}; }
  [[noreturn]] void fail(const std::string& problem) const {
    outliers::fail("{}: {} {}", file, path.empty() ? "the whole file" : path, problem);
  }
};

std::string shown(const ordered_json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  return printable(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace), 40);
}

[[noreturn]] void wrong_type(const At& at, const ordered_json& value, const char* wanted) {
  at.fail(fmt::format("is {}; it should be {}", shown(value), wanted));
}

template <typename T>
void take(T& x, const ordered_json& value, const Field& field, const At& at);

class Reader {
 public:
  Reader(const ordered_json& object, const At& at) : object_(object), at_(at) {}

  template <typename T>
  void operator()(const Field& field, T& x) const {
    const auto found = object_.find(field.name);
    if (found == object_.end()) {
      if constexpr (is_optional<T>) {
        if (!field.null) return;
      }
      if (field.sparse) return;
      at_.child(field.name).fail("is missing");
    }
    take(x, *found, field, at_.child(field.name));
  }

 private:
  const ordered_json& object_;
  const At& at_;
};

void check_range(double value, const ordered_json& shown_value, const Field& field, const At& at) {
  if (value < field.minimum) at.fail(fmt::format("is {}, below {:g}", shown(shown_value), field.minimum));
  if (value > field.maximum) at.fail(fmt::format("is {}, above {:.17g}", shown(shown_value), field.maximum));
}

void check_text(const std::string& text, const ordered_json& value, std::span<const char* const> known,
                const At& at) {
  if (!known.empty() && std::find(known.begin(), known.end(), text) == known.end()) {
    at.fail(fmt::format("is {}, which is none of its values", shown(value)));
  }
}

void read_integer(int64_t& x, const ordered_json& value, const Field& field, const At& at) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() &&
                      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits) wrong_type(at, value, "a whole number");
  x = value.get<int64_t>();
  check_range(static_cast<double>(x), value, field, at);
}

template <typename T>
void take(T& x, const ordered_json& value, const Field& field, const At& at) {
  if constexpr (is_optional<T>) {
    if (value.is_null() && field.null) {
      x.reset();
    } else {
      take(x.emplace(), value, field, at);
    }
  } else if constexpr (is_list<T>) {
    if (!value.is_array()) wrong_type(at, value, "a list");
    if (field.some && value.empty()) at.fail("has no entries");
    x.resize(value.size());
    for (size_t i = 0; i < value.size(); ++i) take(x[i], value[i], field, at.child(i));
  } else if constexpr (is_named<T>) {
    if (!value.is_object()) wrong_type(at, value, "an object");
    for (const auto& [name, item] : value.items()) {
      if (!field.names.empty() &&
          std::find(field.names.begin(), field.names.end(), name) == field.names.end()) {
        at.fail(fmt::format("has an unknown entry {}", printable(name, 40)));
      }
      take(x[name], item, is_optional<typename T::value_type::second_type> ? field.or_null() : field,
           at.child(name));
    }
  } else if constexpr (std::is_same_v<T, Expert>) {
    if (value == "shared") {
      x = {Expert::kShared};
    } else {
      read_integer(x.number, value, field, at);
      if (x.number < 0) at.fail(fmt::format("is {}, below 0", shown(value)));
    }
  } else if constexpr (std::is_enum_v<T>) {
    if (!value.is_string()) wrong_type(at, value, "a text");
    const auto text = value.get<std::string>();
    check_text(text, value, kNames<T>, at);
    x = static_cast<T>(std::find(std::begin(kNames<T>), std::end(kNames<T>), text) - std::begin(kNames<T>));
  } else if constexpr (std::is_same_v<T, double>) {
    if (!value.is_number() && !value.is_null()) wrong_type(at, value, "a number");
    x = value.is_null() ? kNone : value.get<double>();
    check_range(x, value, field, at);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    read_integer(x, value, field, at);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) wrong_type(at, value, "true or false");
    x = value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) wrong_type(at, value, "a text");
    x = value.get<std::string>();
    check_text(x, value, field.values, at);
  } else {
    static_assert(HasFields<T>);
    if (!value.is_object()) wrong_type(at, value, "an object");
    Reader reader(value, at);
    fields(reader, x);
  }
}

}  // namespace

Results from_json(const ordered_json& json, const std::string& file) {
  Results results;
  take(results, json, field(""), At{file, ""});
  check_consistency(results, file);
  return results;
}

Results read(const std::filesystem::path& path) {
  const std::string file = printable(path.string(), std::string::npos), text = read_own(path);
  ordered_json json;
  try {
    // A null stands where a number was NaN or infinite, as outliers writes it.
    json = parse_json<ordered_json>(text, printable(path.string()), "null");
  } catch (const Error& error) {
    fail("{}; it is damaged or cut short: run outliers report again", error.what());
  }
  const bool has_schema = json.is_object() && json.contains("schema") && json["schema"].is_string();
  require(has_schema, "{} is no report: it has no field schema", file);
  const std::string schema = json["schema"];
  if (schema == kSchema) return from_json(json, file);
  require(schema == kOldSchema,
          "{} is of {}: this program reads {} and {}; read it with the version that wrote it", file,
          printable(schema, 60), kOldSchema, kSchema);
  return from_json(converted_from_1(json), file);
}

}  // namespace outliers::results
