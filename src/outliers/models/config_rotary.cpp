#include "outliers/models/config_rotary.h"

#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/models/config_keys.h"
#include "outliers/models/rotary.h"

namespace outliers::models {

namespace {

using nlohmann::json;

constexpr const char* kGlobal = "full_attention";
constexpr const char* kLocal = "sliding_attention";

/// One of the objects in which a rotary's parameters stand.
struct Parameters {
  const Family& family;
  const Fields& top;     ///< the whole config
  const Fields& own;     ///< the object
  const char* name;      ///< of the object, as messages say it
  bool by_kind = false;  ///< there is one for each kind of layer

  /// own's number, else top's, else `otherwise`; warns where both say it and differ.
  double number(const char* key, const char* top_key, double otherwise) const {
    const json* outer = top.stated(top_key);
    if (!own.has(key)) return outer != nullptr ? top.number(top_key) : otherwise;
    const double value = own.number(key);
    if (outer != nullptr && *outer != value) {
      warn_of_precedence(top.where(), fmt::format("{}: {}", name, key), top.name_of(top_key));
    }
    return value;
  }
};

int64_t rotary_width(const Parameters& p, int64_t head_width) {
  constexpr const char* kPart = "partial_rotary_factor";
  if (names_read(p.family, kPart).empty()) {
    if (p.own.has(kPart) && *p.own.find(kPart) != 1.0) {
      warn_of_unread(p.top.where(), p.family.name, {fmt::format("{}: {}", p.name, kPart)});
    }
    return head_width;
  }
  const double part = p.number(kPart, kPart, p.top.number(kPart, 1.0));
  require(part >= 0 && part <= 1, "{}: 'partial_rotary_factor' should be between 0 and 1", p.own.where());
  return static_cast<int64_t>(static_cast<double>(head_width) * part);
}

std::string scaling_type(const Parameters& p) {
  std::string type = p.own.string("rope_type", p.own.string("type", "default"));
  if (p.own.has("rope_type") && p.own.has("type") && p.own.string("type") != type) {
    warn_of_precedence(p.own.where(), "rope_type", "type");
  }
  const auto& early = p.family.longrope_types;
  return std::find(early.begin(), early.end(), type) != early.end() ? "longrope" : type;
}

/// Of which length the frequencies were learnt: the whole config's goes first, but not where there is one for
/// each kind of layer.
int64_t original_positions(const Parameters& p, int64_t positions) {
  constexpr const char* kOriginal = "original_max_position_embeddings";
  int64_t original = p.own.integer(kOriginal, positions);
  if (!p.by_kind && p.top.has(kOriginal)) {
    const int64_t first = p.top.integer(kOriginal);
    if (p.own.has(kOriginal) && first != original) {
      warn_of_precedence(p.top.where(), kOriginal, fmt::format("{}: {}", p.name, kOriginal));
    }
    original = first;
  }
  require(original >= 1, "{}: '{}' should be positive", p.own.where(), kOriginal);
  return original;
}

Rotary read_rotary(const Parameters& p, double base, int64_t head_width) {
  Rotary rotary;
  rotary.base = base;
  rotary.width = rotary_width(p, head_width);
  const Fields& own = p.own;
  const std::string type = scaling_type(p);
  const int64_t positions = p.top.integer("max_position_embeddings");
  rotary.original_positions = positions;
  require(positions >= 1, "{}: 'max_position_embeddings' should be positive", p.top.where());
  if (type == "default") return rotary;
  rotary.scaling = type;
  if (type != "linear" && type != "dynamic") rotary.original_positions = original_positions(p, positions);
  const double stretched = static_cast<double>(positions) / static_cast<double>(rotary.original_positions);
  if (type == "linear" || type == "dynamic") {
    rotary.factor = own.number("factor");
  } else if (type == "llama3") {
    rotary.factor = own.number("factor");
    rotary.low_frequency_factor = own.number("low_freq_factor");
    rotary.high_frequency_factor = own.number("high_freq_factor");
  } else if (type == "yarn") {
    rotary.factor = own.number("factor", stretched);
    rotary.beta_fast = own.number("beta_fast", 32.0);
    rotary.beta_slow = own.number("beta_slow", 1.0);
    rotary.truncate = own.truth("truncate", true);
    const double mscale = own.number("mscale", 0.0), all = own.number("mscale_all_dim", 0.0);
    const double derived = mscale != 0 && all != 0 ? yarn_attention_factor(rotary.factor, mscale) /
                                                         yarn_attention_factor(rotary.factor, all)
                                                   : yarn_attention_factor(rotary.factor);
    rotary.attention_factor = own.number("attention_factor", derived);
  } else if (type == "longrope") {
    rotary.factor = own.number("factor", stretched);
    rotary.factors = own.numbers("short_factor");
    rotary.long_factors = own.numbers("long_factor");
    rotary.attention_factor =
        own.number("attention_factor", longrope_attention_factor(rotary.factor, rotary.original_positions));
  } else {
    fail(Cause{ErrorKind::unsupported},
         "{}: rotary scaling '{}' is not supported; known: linear, dynamic, llama3, yarn, longrope",
         own.where(), printable(type));
  }
  return rotary;
}

const json& no_parameters() {
  static const json none = json::object();
  return none;
}

/// The object under `key`, an empty one where there is none.
const json& object_or_none(const Fields& fields, const char* key) {
  if (!fields.has(key)) return no_parameters();
  const json& value = fields.value(key, "an object");
  require(value.is_object(), "{}: '{}' should be an object", fields.where(), key);
  return value;
}

/// Gemma 3's: rope_parameters has an object for each kind of layer, to that of all global ones rope_scaling's
/// keys are added.
void read_both_kinds(const Family& family, const Fields& fields, int64_t head_width, Rotary& global,
                     Rotary& local) {
  const json& both = object_or_none(fields, "rope_parameters");
  const Fields parameters(both, nullptr, fields.where() + ": rope_parameters");
  std::vector<std::string> unread;
  for (const auto& [key, value] : both.items()) {
    if (key != kGlobal && key != kLocal && !value.is_null()) unread.push_back("rope_parameters: " + key);
  }
  warn_of_unread(fields.where(), family.name, unread);
  json full = object_or_none(parameters, kGlobal);
  for (const auto& [key, value] : object_or_none(fields, "rope_scaling").items()) {
    if (full.contains(key) && full[key] != value) {
      warn_of_precedence(fields.where(), "rope_scaling: " + key,
                         fmt::format("rope_parameters: {}: {}", kGlobal, key));
    }
    full[key] = value;
  }
  const std::string where = fields.where() + ": rope_parameters: ";
  const Fields of_global(full, nullptr, where + kGlobal);
  const Fields of_local(object_or_none(parameters, kLocal), nullptr, where + kLocal);
  const Parameters globals{family, fields, of_global, "rope_parameters: full_attention", true};
  const Parameters locals{family, fields, of_local, "rope_parameters: sliding_attention", true};
  global = read_rotary(globals, globals.number("rope_theta", "rope_theta", fields.number("rope_theta")),
                       head_width);
  local = read_rotary(
      locals, locals.number("rope_theta", "rope_local_base_freq", fields.number("rope_local_base_freq")),
      head_width);
}

}  // namespace

void read_rotaries(const Family& family, const Fields& fields, int64_t head_width, Rotary& global,
                   Rotary& local) {
  if (family.local_rotary_base > 0) return read_both_kinds(family, fields, head_width, global, local);
  // rope_scaling is the older name and goes first where it says something.
  const json* scaling = fields.stated("rope_scaling");
  const json* parameters = fields.stated("rope_parameters");
  const bool scales = scaling != nullptr && !scaling->empty();
  const char* name = !scales && parameters != nullptr ? "rope_parameters" : "rope_scaling";
  if (scales && parameters != nullptr && *parameters != *scaling) {
    warn_of_precedence(fields.where(), "rope_scaling", "rope_parameters");
  }
  // One that is empty leaves what holds by default.
  const json* usual = fields.fallback("rope_scaling");
  const bool chosen = scales || parameters != nullptr;
  const json& object = chosen || usual == nullptr ? object_or_none(fields, name) : *usual;
  const Fields own(object, nullptr, fmt::format("{}: {}", fields.where(), name));
  std::vector<std::string> unread;
  for (const char* kind : {kGlobal, kLocal}) {
    if (own.has(kind)) unread.push_back(fmt::format("{}: {}", name, kind));
  }
  warn_of_unread(fields.where(), family.name, unread);
  const Parameters all{family, fields, own, name};
  global = local = read_rotary(
      all, all.number("rope_theta", "rope_theta", fields.number("rope_theta", 10000.0)), head_width);
}

}  // namespace outliers::models
