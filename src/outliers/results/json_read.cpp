#include "outliers/results/json_read.h"

#include <algorithm>
#include <regex>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/regular_file.h"
#include "outliers/results/convert_1.h"
#include "outliers/results/json.h"
#include "outliers/results/visit.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

constexpr size_t kShownName = 40;

/// Where a reader is: what errors name. A path is put together only where one is told.
struct At {
  const std::string* file;
  const At* parent = nullptr;
  std::string_view name = {};
  size_t index = 0;

  At child(std::string_view field) const { return {file, this, field, 0}; }
  At child(size_t entry) const { return {file, this, {}, entry}; }

  std::string path() const {
    if (parent == nullptr) return "";
    const std::string before = parent->path();
    if (name.data() == nullptr) return fmt::format("{}[{}]", before, index);
    return before + (before.empty() ? "" : ".") + printable(std::string(name), kShownName);
  }
  [[noreturn]] void fail(const std::string& problem) const {
    const std::string where = path();
    outliers::fail("{}: {} {}", *file, where.empty() ? "the whole file" : where, problem);
  }
};

std::string shown(const ordered_json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  return printable(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace), kShownName);
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
      if (may_be_left_out<T>(field)) return;
      at_.child(field.name).fail("is missing");
    }
    take(x, *found, field, at_.child(field.name));
  }

 private:
  const ordered_json& object_;
  const At& at_;
};

void check_range(double value, const ordered_json& json, const Field& field, const At& at) {
  if (value < field.minimum) at.fail(fmt::format("is {}, below {}", shown(json), field.minimum));
  if (value > field.maximum) at.fail(fmt::format("is {}, above {}", shown(json), field.maximum));
}

void check_known(const std::string& text, const ordered_json& json, std::span<const char* const> known,
                 const At& at) {
  if (std::find(known.begin(), known.end(), text) == known.end())
    at.fail(fmt::format("is {}, which is none of its values", shown(json)));
}

void check_pattern(const std::string& text, const ordered_json& json, const char* pattern, const At& at) {
  constexpr size_t longest = 100;  // std::regex takes stack by the letter
  if (text.size() > longest || !std::regex_search(text, std::regex(pattern)))
    at.fail(fmt::format("is {}, which does not match {}", shown(json), pattern));
}

int64_t integer(const ordered_json& value, const Field& field, const At& at) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() &&
                      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits) wrong_type(at, value, "a whole number");
  check_range(value.get<double>(), value, field, at);
  return value.get<int64_t>();
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
    if (value.size() > field.most)
      at.fail(fmt::format("has {} entries, more than {}", value.size(), field.most));
    // One by one: a wrong entry ends it before memory is taken for all.
    for (size_t i = 0; i < value.size(); ++i) take(x.emplace_back(), value[i], field, at.child(i));
  } else if constexpr (is_named<T>) {
    if (!value.is_object()) wrong_type(at, value, "an object");
    for (const auto& [name, item] : value.items()) {
      if (!field.names.empty() &&
          std::find(field.names.begin(), field.names.end(), name) == field.names.end()) {
        at.fail(fmt::format("has an unknown entry {}", printable(name, kShownName)));
      }
      take(x[name], item, of_named<T>(field), at.child(name));
    }
  } else if constexpr (std::is_same_v<T, Expert>) {
    x.number = value == "shared" ? Expert::kShared : integer(value, field.from(0), at);
  } else if constexpr (std::is_enum_v<T>) {
    if (!value.is_string()) wrong_type(at, value, "a text");
    const auto text = value.get<std::string>();
    check_known(text, value, kNames<T>, at);
    x = static_cast<T>(std::find(std::begin(kNames<T>), std::end(kNames<T>), text) - std::begin(kNames<T>));
  } else if constexpr (std::is_same_v<T, double>) {
    if (!value.is_number() && !value.is_null()) wrong_type(at, value, "a number");
    x = value.is_null() ? kNone : value.get<double>();
    check_range(x, value, field, at);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    x = integer(value, field, at);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) wrong_type(at, value, "true or false");
    x = value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) wrong_type(at, value, "a text");
    x = value.get<std::string>();
    if (!field.values.empty()) check_known(x, value, field.values, at);
    if (field.pattern != nullptr) check_pattern(x, value, field.pattern, at);
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
  take(results, json, field(""), At{&file});
  check_consistency(results, file);
  return results;
}

Results from_json_1(const ordered_json& json, const std::string& file) {
  const std::string as = fmt::format("{} (of {}, read as {})", file, kOldSchema, kSchema);
  ordered_json all = converted_from_1(json);
  // /1 was of these criteria and did not say so; Results1.HasTheCriteriaOfItsTime holds them.
  all["criteria"] = criteria_json();
  all["definitions"] = ordered_json::object();
  all["layers"] = ordered_json::array();
  const size_t layers = layers_of_1(json);
  if (layers > 0) all["layers"].push_back(layer_of_1(json, 0));
  Results results;
  const At whole{&as}, list = whole.child("layers");
  take(results, all, field(""), whole);
  for (size_t l = 1; l < layers; ++l)
    take(results.layers.emplace_back(), layer_of_1(json, l), field(""), list.child(l));
  results.definitions = definitions(results.criteria);
  check_consistency(results, as);
  return results;
}

Results read(const std::filesystem::path& path) {
  const std::string file = printable(path.string(), std::string::npos), text = read_own(path);
  ordered_json json;
  try {
    // A null stands where a number was NaN or infinite, as outliers writes it.
    json = parse_json<ordered_json>(text, file, "null");
  } catch (const Error& error) {
    fail("{}; it is damaged or cut short: run outliers report again", error.what());
  }
  const auto found = json.find("schema");
  require(found != json.end() && found->is_string(), "{} is no report: it has no field schema", file);
  const std::string schema = *found;
  if (schema == kOldSchema) return from_json_1(json, file);
  require(schema == kSchema,
          "{} is of {}: this program reads {} and {}; read it with the version that wrote it", file,
          printable(schema, 60), kOldSchema, kSchema);
  return from_json(json, file);
}

}  // namespace outliers::results
