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
    const ordered_json* value = find(field, may_be_left_out<T>(field));
    if (value != nullptr) take(x, *value, field, at_.child(field.name));
  }

 private:
  const ordered_json* find(const Field& field, bool may_be_left_out) const {
    const auto found = object_.find(field.name);
    if (found != object_.end()) return &*found;
    if (!may_be_left_out) at_.child(field.name).fail("is missing");
    return nullptr;
  }

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

void check_list(const ordered_json& value, const Field& field, const At& at) {
  if (!value.is_array()) wrong_type(at, value, "a list");
  if (field.some && value.empty()) at.fail("has no entries");
  if (value.size() > field.most)
    at.fail(fmt::format("has {} entries, more than {}", value.size(), field.most));
}

void check_name(const std::string& name, const Field& field, const At& at) {
  const auto& names = field.names;
  if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end())
    at.fail(fmt::format("has an unknown entry {}", printable(name, kShownName)));
}

double number(const ordered_json& value, const Field& field, const At& at) {
  if (!value.is_number() && !value.is_null()) wrong_type(at, value, "a number");
  const double x = value.is_null() ? kNone : value.get<double>();
  check_range(x, value, field, at);
  return x;
}

std::string text(const ordered_json& value, const Field& field, const At& at) {
  if (!value.is_string()) wrong_type(at, value, "a text");
  auto x = value.get<std::string>();
  if (!field.values.empty()) check_known(x, value, field.values, at);
  if (field.pattern != nullptr) check_pattern(x, value, field.pattern, at);
  return x;
}

int64_t named(const ordered_json& value, std::span<const char* const> names, const At& at) {
  if (!value.is_string()) wrong_type(at, value, "a text");
  const auto name = value.get<std::string>();
  check_known(name, value, names, at);
  return std::find(names.begin(), names.end(), name) - names.begin();
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
    check_list(value, field, at);
    // One by one: a wrong entry ends it before memory is taken for all.
    for (size_t i = 0; i < value.size(); ++i) take(x.emplace_back(), value[i], field, at.child(i));
  } else if constexpr (is_named<T>) {
    if (!value.is_object()) wrong_type(at, value, "an object");
    for (const auto& [name, item] : value.items()) {
      check_name(name, field, at);
      take(x[name], item, of_named<T>(field), at.child(name));
    }
  } else if constexpr (std::is_same_v<T, Expert>) {
    x.number = value == "shared" ? Expert::kShared : integer(value, field.from(0), at);
  } else if constexpr (std::is_enum_v<T>) {
    x = static_cast<T>(named(value, kNames<T>, at));
  } else if constexpr (std::is_same_v<T, double>) {
    x = number(value, field, at);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    x = integer(value, field, at);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) wrong_type(at, value, "true or false");
    x = value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    x = text(value, field, at);
  } else {
    static_assert(HasFields<T>);
    if (!value.is_object()) wrong_type(at, value, "an object");
    Reader reader(value, at);
    fields(reader, x);
  }
}

/// Whether `text`, as JSON, has an object of more than `most` names.
bool has_wide_object(std::string_view text, size_t most) {
  constexpr size_t deepest = 1000;  // parse_json() reads nothing deeper
  std::vector<size_t> names;        // of the open objects; none of lists
  bool inside_text = false;
  for (size_t i = 0; i < text.size() && names.size() <= deepest; ++i) {
    const char c = text[i];
    if (inside_text) {
      i += c == '\\';
      inside_text = c != '"';
    } else if (c == '"') {
      inside_text = true;
    } else if (c == '{' || c == '[') {
      names.push_back(0);
    } else if (!names.empty()) {
      if (c == '}' || c == ']') {
        names.pop_back();
      } else if (c == ':' && ++names.back() > most) {
        return true;
      }
    }
  }
  return false;
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

namespace {

/// A file of ours; `kind`: what it is not otherwise, "report"; `command`: what writes it.
ordered_json parsed(const std::filesystem::path& path, const std::string& file, const char* kind,
                    const char* command) {
  const std::string text = read_own(path);
  // For each name of an object that keeps their order all before it are looked through.
  constexpr size_t most_names = 10'000;
  require(!has_wide_object(text, most_names), "{} is no {}: an object in it has more than {} names", file,
          kind, most_names);
  try {
    // A null stands where a number was NaN or infinite, as outliers writes it.
    return parse_json<ordered_json>(text, file, "null");
  } catch (const Error& error) {
    fail("{}; it is damaged or cut short: run {} again", error.what(), command);
  }
}

std::string schema_of(const ordered_json& json, const std::string& file, const char* kind) {
  const auto found = json.find("schema");
  require(found != json.end() && found->is_string(), "{} is no {}: it has no field schema", file, kind);
  return *found;
}

}  // namespace

Results read(const std::filesystem::path& path) {
  const std::string file = printable(path.string(), std::string::npos);
  const ordered_json json = parsed(path, file, "report", "outliers report");
  const std::string schema = schema_of(json, file, "report");
  if (schema == kOldSchema) return from_json_1(json, file);
  require(schema == kSchema,
          "{} is of {}: this program reads {} and {}; read it with the version that wrote it", file,
          printable(schema, 60), kOldSchema, kSchema);
  return from_json(json, file);
}

Interventions read_interventions(const std::filesystem::path& path) {
  const std::string file = printable(path.string(), std::string::npos);
  const ordered_json json = parsed(path, file, "intervention", "outliers intervene");
  const std::string schema = schema_of(json, file, "intervention");
  require(schema == kInterventionsSchema,
          "{} is of {}: this program reads {}; read it with the version that wrote it", file,
          printable(schema, 60), kInterventionsSchema);
  Interventions interventions;
  take(interventions, json, field(""), At{&file});
  check_consistency(interventions, file);
  return interventions;
}

}  // namespace outliers::results
