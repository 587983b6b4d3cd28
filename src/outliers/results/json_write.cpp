#include <nlohmann/json.hpp>

#include "outliers/results/json.h"
#include "outliers/results/json_read.h"
#include "outliers/results/visit.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;

template <typename T>
ordered_json json_of(T& x);

class Writer {
 public:
  template <typename T>
  void operator()(const Field& field, T& x) {
    if (may_be_left_out<T>(field) && is_empty(x)) return;
    object_[field.name] = json_of(x);
  }
  ordered_json take() { return std::move(object_); }

 private:
  template <typename T>
  static bool is_empty(const T& x) {
    if constexpr (is_optional<T>) return !x.has_value();
    if constexpr (is_list<T> || is_named<T> || std::is_same_v<T, std::string>) return x.empty();
    return false;
  }

  ordered_json object_ = ordered_json::object();
};

template <typename T>
ordered_json json_of(T& x) {
  if constexpr (is_optional<T>) {
    return x ? json_of(*x) : ordered_json(nullptr);
  } else if constexpr (is_list<T>) {
    ordered_json list = ordered_json::array();
    for (auto& item : x) list.push_back(json_of(item));
    return list;
  } else if constexpr (is_named<T>) {
    ordered_json object = ordered_json::object();
    for (auto& [name, item] : x) object[name] = json_of(item);
    return object;
  } else if constexpr (std::is_same_v<T, Expert>) {
    return x.is_shared() ? ordered_json("shared") : ordered_json(x.number);
  } else if constexpr (std::is_enum_v<T>) {
    return kNames<T>[static_cast<size_t>(x)];
  } else if constexpr (std::is_same_v<T, double>) {
    return std::isfinite(x) ? ordered_json(x) : ordered_json(nullptr);
  } else if constexpr (HasFields<T>) {
    Writer writer;
    fields(writer, x);
    return writer.take();
  } else {
    return x;
  }
}

}  // namespace

ordered_json criteria_json() {
  Criteria criteria;
  return json_of(criteria);
}

namespace {
template <typename T>
std::string text_of(const T& x, int indent) {
  // Visitors take what they may change; this one only reads.
  return json_of(const_cast<T&>(x)).dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}
}  // namespace

std::string to_text(const Results& results, int indent) {
  return text_of(results, indent);
}

std::string to_text(const Perplexity& perplexity, int indent) {
  return text_of(perplexity, indent);
}

std::string to_text(const Interventions& interventions, int indent) {
  return text_of(interventions, indent);
}

std::string to_text(const std::vector<Finding>& findings, int indent) {
  return text_of(findings, indent);
}

std::string to_text(const Model& model) {
  return text_of(model, -1);
}

}  // namespace outliers::results
