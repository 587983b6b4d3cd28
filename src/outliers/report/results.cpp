#include "outliers/report/results.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/shape.h"

namespace outliers::report {

extern const char kResultsSchema[];

namespace {

using nlohmann::ordered_json;

constexpr const char* kResultsFile = "results.json";
constexpr const char* kArraysFile = "arrays.npz";

/// arrays.npz, by the letters of Sizes; a digit is a size of its own.
struct ArrayShape {
  const char* name;
  std::vector<std::string_view> shape;
};
const std::vector<ArrayShape>& array_shapes() {
  static const std::vector<ArrayShape> shapes = {
      {"corpus.ids", {"N", "T"}},
      {"corpus.resid_out.channel_max", {"L", "D"}},
      {"corpus.resid_out.token_max", {"L", "N", "T"}},
      {"corpus.resid_out.token_norm", {"L", "N", "T"}},
      {"corpus.down_in.channel_max", {"L", "F"}},
      {"corpus.down_in.token_max", {"L", "N", "T"}},
      {"corpus.attention.key_scores", {"L", "N", "T"}},
      {"prompt.resid_out.channel_max", {"L", "D"}},
      {"prompt.resid_out.token_max", {"L", "1", "P"}},
      {"prompt.resid_out.token_norm", {"L", "1", "P"}},
      {"prompt.down_in.channel_max", {"L", "F"}},
      {"prompt.down_in.token_max", {"L", "1", "P"}},
      {"prompt.attention.key_scores", {"L", "1", "P"}},
      {"prompt.resid_out", {"L", "K", "D"}},
      {"prompt.down_in", {"L", "K", "F"}},
      {"prompt.attention.probs", {"L", "H", "P", "P"}},
      {"prompt.attention.probs_mean", {"L", "P", "P"}},
      {"weights.down.columns", {"L", "13", "D"}},
      {"weights.down.column_index", {"L", "13"}},
  };
  return shapes;
}

int64_t size_of(std::string_view letter, const Sizes& s) {
  switch (letter.front()) {
    case 'L':
      return s.L;
    case 'D':
      return s.D;
    case 'F':
      return s.F;
    case 'H':
      return s.H;
    case 'N':
      return s.N;
    case 'T':
      return s.T;
    case 'P':
      return s.P;
    case 'K':
      return s.K;
    default:
      return std::stoll(std::string(letter));
  }
}

std::string child(const std::string& path, const std::string& key) {
  return path.empty() ? printable(key) : path + "." + printable(key);
}
std::string child(const std::string& path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}
std::string named(const std::string& path) {
  return path.empty() ? "the whole file" : path;
}

bool is_type(const ordered_json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "integer") {
    return value.is_number_integer() &&
           !(value.is_number_unsigned() && value.get<uint64_t>() > std::numeric_limits<int64_t>::max());
  }
  return value.is_number() || value.is_null();  // "number": JSON has no NaN, so null stands for one
}

/// One value against one schema; `root` resolves references.
class Checker {
 public:
  explicit Checker(const ordered_json& root) : root_(root) {}

  // Schemas nest as deep as the documented one, so values are never followed deeper.
  std::string problem(const ordered_json& value, const ordered_json& schema, const std::string& path) const {
    if (schema.contains("$ref")) return problem(value, definition(schema["$ref"]), path);
    if (schema.contains("anyOf")) return any_of(value, schema["anyOf"], path);
    if (schema.contains("const") && value != schema["const"]) {
      return fmt::format("{} is {}, not {}", named(path), shown(value), shown(schema["const"]));
    }
    if (schema.contains("enum")) {
      const auto& choices = schema["enum"];
      if (std::find(choices.begin(), choices.end(), value) == choices.end())
        return fmt::format("{} is {}, which is none of its values", named(path), shown(value));
    }
    if (schema.contains("type")) {
      const std::vector<std::string> types = schema["type"].is_array()
                                                 ? schema["type"].get<std::vector<std::string>>()
                                                 : std::vector<std::string>{schema["type"]};
      if (std::none_of(types.begin(), types.end(), [&](const auto& type) { return is_type(value, type); })) {
        return fmt::format("{} is {}; it should be of type {}", named(path), shown(value),
                           fmt::join(types, " or "));
      }
    }
    if (value.is_number()) return range(value, schema, path);
    if (value.is_array()) return array(value, schema, path);
    if (value.is_object()) return object(value, schema, path);
    return "";
  }

 private:
  static std::string shown(const ordered_json& value) {
    if (value.is_object()) return "an object";
    if (value.is_array()) return "a list";
    return printable(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace), 40);
  }

  const ordered_json& definition(const std::string& reference) const {
    return root_.at(ordered_json::json_pointer(reference.substr(1)));  // "#/$defs/name"
  }

  std::string any_of(const ordered_json& value, const ordered_json& schemas, const std::string& path) const {
    std::string first;
    for (const ordered_json& schema : schemas) {
      std::string found = problem(value, schema, path);
      if (found.empty()) return "";
      if (first.empty()) first = std::move(found);
    }
    return first;
  }

  static std::string range(const ordered_json& value, const ordered_json& schema, const std::string& path) {
    const auto outside = [&](const char* key, double sign) {
      return schema.contains(key) && sign * value.get<double>() > sign * schema[key].get<double>();
    };
    if (outside("minimum", -1))
      return fmt::format("{} is {}, below {}", named(path), shown(value), shown(schema["minimum"]));
    if (outside("maximum", 1))
      return fmt::format("{} is {}, above {}", named(path), shown(value), shown(schema["maximum"]));
    return "";
  }

  std::string array(const ordered_json& value, const ordered_json& schema, const std::string& path) const {
    if (value.size() < schema.value("minItems", size_t{0}) ||
        value.size() > schema.value("maxItems", value.size())) {
      return fmt::format("{} has {} entries", named(path), value.size());
    }
    if (!schema.contains("items")) return "";
    for (size_t i = 0; i < value.size(); ++i) {
      std::string found = problem(value[i], schema["items"], child(path, i));
      if (!found.empty()) return found;
    }
    return "";
  }

  std::string object(const ordered_json& value, const ordered_json& schema, const std::string& path) const {
    // In the order of the schema, so that the first problem is the one a reader would meet.
    if (schema.contains("properties")) {
      for (const auto& [key, sub] : schema["properties"].items()) {
        if (!value.contains(key)) continue;
        std::string found = problem(value[key], sub, child(path, key));
        if (!found.empty()) return found;
      }
    }
    if (schema.contains("required")) {
      for (const ordered_json& key : schema["required"]) {
        if (!value.contains(key.get<std::string>()))
          return child(path, key.get<std::string>()) + " is missing";
      }
    }
    for (const auto& [key, sub] : value.items()) {
      if (schema.contains("propertyNames")) {
        std::string found = problem(key, schema["propertyNames"], path);
        if (!found.empty()) return fmt::format("{} has an unknown entry {}", named(path), printable(key, 40));
      }
      const bool listed = schema.contains("properties") && schema["properties"].contains(key);
      if (!listed && schema.contains("additionalProperties")) {
        std::string found = problem(sub, schema["additionalProperties"], child(path, key));
        if (!found.empty()) return found;
      }
    }
    return "";
  }

  const ordered_json& root_;
};

/// Counts and places of results.json against each other.
class Consistency {
 public:
  Consistency(const ordered_json& json, const Sizes& sizes, const std::string& file)
      : json_(json), s_(sizes), file_(file) {}

  void check() const {
    for (const char* list : {"tokens", "classes"})
      length(json_["prompt"][list], s_.P, fmt::format("prompt.{}", list), "prompt.ids");
    require(s_.K <= s_.P, "{}: prompt.kept_tokens is {}, but the prompt has {} tokens", file_, s_.K, s_.P);
    for (const char* batch : {"prompt", "corpus"}) {
      const bool prompt = batch == std::string_view("prompt");
      const int64_t sequences = prompt ? 1 : s_.N, tokens = prompt ? s_.P : s_.T;
      for (const char* point : {"resid_out", "down_in"}) {
        activations(json_["activations"][batch][point], fmt::format("activations.{}.{}", batch, point),
                    sequences, tokens, point == std::string_view("resid_out") ? s_.D : s_.F);
      }
      attention(prompt ? json_["attention"]["prompt"]["layers"] : json_["attention"]["corpus"],
                prompt ? "attention.prompt.layers" : "attention.corpus", sequences, tokens);
    }
    layers(json_["weights"], "weights");
    writes(json_["writes"]);
    images();
    summary(json_["summary"]);
  }

 private:
  void length(const ordered_json& list, int64_t wanted, const std::string& path, const char* as) const {
    require(static_cast<int64_t>(list.size()) == wanted, "{}: {} has {} entries, but {} says {}", file_, path,
            list.size(), as, wanted);
  }
  void layers(const ordered_json& list, const std::string& path) const {
    length(list, s_.L, path, "model.layers");
    for (size_t l = 0; l < list.size(); ++l) {
      require(list[l]["layer"] == l, "{}: {}[{}].layer is {}; layers stand in order, from 0", file_, path, l,
              list[l]["layer"].dump());
    }
  }
  void below(const ordered_json& value, int64_t limit, const std::string& path) const {
    require(value.is_null() || value.get<int64_t>() < limit, "{}: {} is {}, but there are only {}", file_,
            path, value.dump(), limit);
  }
  void places(const ordered_json& list, const std::string& path,
              const std::vector<std::pair<const char*, int64_t>>& limits) const {
    for (size_t i = 0; i < list.size(); ++i) {
      for (const auto& [key, limit] : limits)
        below(list[i][key], limit, fmt::format("{}[{}].{}", path, i, key));
    }
  }
  void activations(const ordered_json& list, const std::string& path, int64_t sequences, int64_t tokens,
                   int64_t channels) const {
    layers(list, path);
    for (size_t l = 0; l < list.size(); ++l) {
      const std::string layer = child(path, l);
      for (const char* field : {"top", "massive"}) {
        places(list[l][field], child(layer, field),
               {{"sequence", sequences}, {"token", tokens}, {"channel", channels}});
      }
      places(list[l]["top_channels"], child(layer, "top_channels"), {{"channel", channels}});
    }
  }
  void attention(const ordered_json& list, const std::string& path, int64_t sequences, int64_t tokens) const {
    layers(list, path);
    for (size_t l = 0; l < list.size(); ++l) {
      const std::string layer = child(path, l);
      length(list[l]["heads"], s_.H, child(layer, "heads"), "model.heads");
      for (const char* field : {"top_keys", "outlier_keys"})
        places(list[l][field], child(layer, field), {{"sequence", sequences}, {"key", tokens}});
    }
  }
  void writes(const ordered_json& list) const {
    layers(list, "writes");
    for (size_t l = 0; l < list.size(); ++l) {
      for (const char* field : {"largest", "followed"}) {
        if (!list[l].contains(field)) continue;
        const std::string path = child(child("writes", l), field);
        below(list[l][field]["token"], s_.P, child(path, "token"));
        below(list[l][field]["channel"], s_.D, child(path, "channel"));
        places(list[l][field]["neurons"], child(path, "neurons"), {{"neuron", s_.F}});
      }
    }
  }
  /// Of images: their number, the tokens of each, and norms with places in them.
  void images() const {
    require(json_.contains("images") == json_.contains("norms"),
            "{}: images and norms stand together, or neither", file_);
    if (!json_.contains("images")) return;
    const ordered_json& images = json_["images"];
    length(images["names"], s_.N, "images.names", "run.sequences");
    const auto size = [&](const char* field, int64_t most) {
      below(images[field], most + 1, child("images", field));
      return images[field].get<int64_t>();
    };
    const int64_t patches = size("rows", s_.T) * size("columns", s_.T), others = 1 + size("registers", s_.T);
    for (const int64_t tokens : {s_.T, s_.P}) {
      require(others + patches == tokens,
              "{}: images has {} patches and {} other tokens, but sequences have {}", file_, patches, others,
              tokens);
    }
    for (const char* batch : {"prompt", "corpus"}) {
      const ordered_json& list = json_["norms"][batch];
      const std::string path = fmt::format("norms.{}", batch);
      const bool prompt = batch == std::string_view("prompt");
      layers(list, path);
      for (size_t l = 0; l < list.size(); ++l) {
        places(ordered_json::array({list[l]["patches"]["largest"]}), child(child(path, l), "patches.largest"),
               {{"sequence", prompt ? 1 : s_.N}, {"token", s_.T}});
        require(list[l].contains("registers") == (others > 1),
                "{}: {}: registers stand where the model has some", file_, child(path, l));
        if (others > 1)
          length(list[l]["registers"]["each"], others - 1, child(path, l) + ".registers.each", "images");
      }
    }
  }
  void summary(const ordered_json& summary) const {
    for (const char* field : {"born_layer", "peak_layer", "removed_layer"})
      below(summary[field], s_.L, child("summary", field));
    if (summary.contains("first_nonfinite") && !summary["first_nonfinite"].is_null()) {
      const ordered_json& first = summary["first_nonfinite"];
      const bool prompt = first["batch"] == "prompt";
      const std::vector<std::pair<const char*, int64_t>> limits = {
          {"layer", s_.L}, {"sequence", prompt ? 1 : s_.N}, {"token", prompt ? s_.P : s_.T}};
      places(ordered_json::array({first}), "summary.first_nonfinite", limits);
      // What is told, is told of the layers before.
      for (const char* field : {"born_layer", "peak_layer", "removed_layer"})
        below(summary[field], first["layer"], child("summary", field));
    }
    for (size_t i = 0; i < summary["massive_channels"].size(); ++i)
      below(summary["massive_channels"][i], s_.D, child("summary.massive_channels", i));
    places(summary["massive_tokens"], "summary.massive_tokens",
           {{"token", s_.P}, {"first_layer", s_.L}, {"last_layer", s_.L}});
  }

  const ordered_json& json_;
  const Sizes& s_;
  const std::string& file_;
};

ordered_json read_json(const std::filesystem::path& path) {
  const std::string text = read_own(path);
  try {
    // A null stands where a number was NaN or infinite, as outliers writes it.
    return parse_json<ordered_json>(text, printable(path.string()), "null");
  } catch (const Error& error) {
    fail("{}; it is damaged or cut short: run outliers report again", error.what());
  }
}

}  // namespace

const ordered_json& results_schema() {
  static const ordered_json schema = ordered_json::parse(kResultsSchema);
  return schema;
}

std::string schema_problem(const ordered_json& value, const ordered_json& schema) {
  return Checker(schema).problem(value, schema, "");
}

double number_of(const ordered_json& value) {
  return value.is_null() ? NAN : value.get<double>();
}

at::Tensor Results::array(const std::string& name) const {
  const std::string file = (directory / kArraysFile).string();
  io::NpzArray array = arrays.open(name);
  const auto& shapes = array_shapes();
  const auto known =
      std::find_if(shapes.begin(), shapes.end(), [&](const auto& a) { return name == a.name; });
  require(known != shapes.end(), "{}: array {} is not one of docs/results.md", file, printable(name));
  std::vector<int64_t> wanted;
  for (const std::string_view letter : known->shape) wanted.push_back(size_of(letter, sizes));
  require(array.shape() == wanted, "{}: {} has the shape {}, but [{}] here is {}", file, name,
          shape_string(array.shape()), fmt::join(known->shape, ", "), shape_string(wanted));
  at::Tensor values = array.whole();
  array.finish();
  return values;
}

Results read_results(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  const fs::path results = directory / kResultsFile, arrays = directory / kArraysFile;
  std::error_code ec;
  for (const fs::path& path : {results, arrays}) {
    require(fs::is_regular_file(path, ec), "{} holds no report: it has no {}; make one with outliers report",
            directory.string(), path.filename().string());
  }
  ordered_json json = read_json(results);
  const std::string wanted = results_schema()["properties"]["schema"]["const"];
  const bool has_schema = json.is_object() && json.contains("schema") && json["schema"].is_string();
  require(has_schema, "{} is no report: it has no field schema", results.string());
  const std::string schema = json["schema"];
  require(schema == wanted, "{} is of {}: this program reads {}; read it with the version that wrote it",
          results.string(), printable(schema, 60), wanted);
  const std::string problem = schema_problem(json, results_schema());
  require(problem.empty(), "{}: {}", results.string(), problem);

  const ordered_json &model = json["model"], &run = json["run"], &prompt = json["prompt"];
  const Sizes sizes = {model["layers"],
                       model["width"],
                       model["mlp_width"],
                       model["heads"],
                       run["sequences"],
                       run["tokens_per_sequence"],
                       static_cast<int64_t>(prompt["ids"].size()),
                       prompt["kept_tokens"]};
  Consistency(json, sizes, results.string()).check();
  return {directory, std::move(json), sizes, io::NpzReader(arrays)};
}

}  // namespace outliers::report
