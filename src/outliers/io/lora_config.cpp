#define PCRE2_CODE_UNIT_WIDTH 8
#include "outliers/io/lora_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include <nlohmann/json.hpp>
#include <pcre2.h>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/warning.h"

namespace outliers::io {
namespace {

using nlohmann::ordered_json;

/// What becomes of an option when the adapter is merged.
enum class Use { merged, without_effect, refused };
struct Option {
  const char* name;
  Use use;
};
/// All of peft 0.21.2's LoraConfig, in its order, and some of older ones.
constexpr Option kOptions[] = {
    {"task_type", Use::without_effect},
    {"peft_type", Use::merged},
    {"auto_mapping", Use::without_effect},
    {"peft_version", Use::without_effect},
    {"base_model_name_or_path", Use::without_effect},
    {"revision", Use::without_effect},
    {"inference_mode", Use::without_effect},
    {"r", Use::merged},
    {"target_modules", Use::merged},
    {"exclude_modules", Use::merged},
    {"lora_alpha", Use::merged},
    {"lora_dropout", Use::without_effect},
    {"fan_in_fan_out", Use::merged},
    {"bias", Use::merged},
    {"use_rslora", Use::merged},
    {"modules_to_save", Use::merged},
    {"init_lora_weights", Use::merged},
    {"layers_to_transform", Use::merged},
    {"layers_pattern", Use::merged},
    {"rank_pattern", Use::merged},
    {"alpha_pattern", Use::merged},
    {"megatron_config", Use::refused},
    {"megatron_core", Use::without_effect},
    {"trainable_token_indices", Use::merged},
    {"loftq_config", Use::without_effect},
    {"eva_config", Use::without_effect},
    {"corda_config", Use::without_effect},
    {"lora_ga_config", Use::without_effect},
    {"use_dora", Use::merged},
    {"velora_config", Use::without_effect},
    {"alora_invocation_tokens", Use::refused},
    {"use_qalora", Use::refused},
    {"qalora_group_size", Use::without_effect},
    {"monteclora_config", Use::without_effect},
    {"layer_replication", Use::refused},
    {"runtime_config", Use::without_effect},
    {"lora_bias", Use::merged},
    {"target_parameters", Use::refused},
    {"use_bdlora", Use::refused},
    {"arrow_config", Use::refused},
    {"kasa_config", Use::refused},
    {"ensure_weight_tying", Use::merged},
    {"merge_weights", Use::without_effect},  // before 0.2
    {"enable_lora", Use::refused},
};

/// Initialisations that leave the base as it is. The others keep a part of each weight in the adapter.
constexpr std::string_view kPlainStarts[] = {"gaussian", "eva", "orthogonal", "mica"};

/// Whether an option that is off by default is on.
bool is_on(const ordered_json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  return !(value.is_structured() || value.is_string()) || !value.empty();
}

bool ends_with_name(const std::string& module, const std::string& name) {
  return module == name || module.ends_with("." + name);
}

}  // namespace

NamePattern::NamePattern(const std::string& pattern, const std::string& option) : option_(option) {
  int error = 0;
  PCRE2_SIZE place = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), 0, &error, &place, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(error, text, sizeof text);
    fail(kUnsupported, "{} has the regular expression {}, which is not read here: {}", option,
         printable(pattern), reinterpret_cast<const char*>(text));
  }
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
}

bool NamePattern::match(const std::string& name, bool whole, std::string& group) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> found(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
  const uint32_t options = PCRE2_ANCHORED | (whole ? PCRE2_ENDANCHORED : 0U);
  const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, options,
                                 found.get(), nullptr);
  require(result >= PCRE2_ERROR_NOMATCH, "{} has a regular expression that takes too long on {}", option_,
          printable(name));
  if (result == PCRE2_ERROR_NOMATCH) return false;
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(found.get());
  if (result > 1 && range[2] != PCRE2_UNSET) group = name.substr(range[2], range[3] - range[2]);
  return true;
}

bool NamePattern::matches(const std::string& name) const {
  std::string group;
  return match(name, true, group);
}

int64_t NamePattern::number_in(const std::string& name) const {
  std::string group;
  int64_t number = -1;
  if (match(name, false, group)) std::from_chars(group.data(), group.data() + group.size(), number);
  return number;
}

/// Takes the options out of the JSON; every error names the file and the option.
struct LoraConfig::Reader {
  const ordered_json& config;
  const std::string& where;

  const ordered_json* find(const char* key) const {
    const auto found = config.find(key);
    return found == config.end() || found->is_null() ? nullptr : &*found;
  }
  std::string option(const char* key) const { return fmt::format("{}: '{}'", where, key); }
  bool flag(const char* key) const {
    const ordered_json* value = find(key);
    require(value == nullptr || value->is_boolean(), "{} should be true or false", option(key));
    return value != nullptr && value->get<bool>();
  }
  int64_t whole(const ordered_json& value, const char* key) const {
    require(value.is_number_integer() && value.get<int64_t>() >= 1 && value.get<int64_t>() <= (1 << 20),
            "{} should be a positive whole number", option(key));
    return value.get<int64_t>();
  }
  double number(const ordered_json& value, const char* key) const {
    require(value.is_number() && std::isfinite(value.get<double>()), "{} should be a number", option(key));
    return value.get<double>();
  }
  /// A text or a list of texts.
  std::vector<std::string> texts(const char* key, bool& is_text) const {
    const ordered_json* value = find(key);
    std::vector<std::string> all;
    is_text = value != nullptr && value->is_string();
    if (value == nullptr) return all;
    if (is_text) return {value->get<std::string>()};
    const bool list = value->is_array() && std::all_of(value->begin(), value->end(),
                                                       [](const auto& name) { return name.is_string(); });
    require(list, "{} should be a text or a list of texts", option(key));
    for (const auto& name : *value) all.push_back(name.get<std::string>());
    return all;
  }
  /// Numbers of layers or tokens.
  std::vector<int64_t> indices(const ordered_json& value, const char* key) const {
    const bool list = value.is_array() && std::all_of(value.begin(), value.end(), [](const auto& index) {
                        return index.is_number_unsigned() && index.template get<uint64_t>() < (1U << 31);
                      });
    require(list, "{} should be a list of numbers of 0 or above", option(key));
    return value.get<std::vector<int64_t>>();
  }
  template <typename T, typename Take>
  void patterns(const char* key, Patterns<T>& into, Take take) const {
    const ordered_json* value = find(key);
    if (value == nullptr) return;
    require(value->is_object(), "{} should be an object", option(key));
    for (const auto& [pattern, one] : value->items())
      into.emplace_back(NamePattern(fmt::format("(.*\\.)?({})", pattern), option(key)), take(one, key));
  }

  void check_all() const {
    for (const auto& item : config.items()) {
      const std::string& key = item.key();
      const ordered_json& value = item.value();
      const auto known = std::find_if(std::begin(kOptions), std::end(kOptions),
                                      [&](const Option& o) { return key == o.name; });
      const std::string name = printable(key);
      if (known != std::end(kOptions)) {
        require(known->use != Use::refused || !is_on(value), kUnsupported,
                "{}: '{}' is not supported; merge the adapter with PEFT", where, name);
        continue;
      }
      if (!is_on(value)) continue;
      require(
          value.is_number() || value.is_string() || is_not_finite(value), kUnsupported,
          "{}: the option '{}' is not known here, and may change what is merged; merge the adapter with PEFT",
          where, name);
      warn("{}: the option '{}' is not known here and is ignored", where, name);
    }
    const std::string type = find("peft_type") != nullptr && find("peft_type")->is_string()
                                 ? find("peft_type")->get<std::string>()
                                 : "";
    require(type == "LORA", kUnsupported, "{}: the adapter is of the kind '{}'; known: LORA", where,
            printable(type));
    if (const ordered_json* bias = find("bias")) {
      const bool known = *bias == "none" || *bias == "all" || *bias == "lora_only";
      require(known, "{} should be \"none\", \"all\" or \"lora_only\"", option("bias"));
    }
    if (const ordered_json* init = find("init_lora_weights")) {
      require(init->is_boolean() || init->is_string(), "{} should be true, false or a text",
              option("init_lora_weights"));
      const std::string start = init->is_string() ? init->get<std::string>() : std::string(kPlainStarts[0]);
      require(
          std::find(std::begin(kPlainStarts), std::end(kPlainStarts), start) != std::end(kPlainStarts),
          "{}: 'init_lora_weights' is '{}', which changes the base weights too; merge the adapter with PEFT",
          where, printable(start));
    }
  }
};

LoraConfig::LoraConfig(const std::filesystem::path& file) {
  const std::string where = printable(file.string(), 4096);
  const std::string text = read_own(file);
  const auto config = parse_json<ordered_json>(text, where);
  require(config.is_object(), "{}: this is not a JSON object", where);
  const Reader reader{config, where};
  reader.check_all();
  constexpr int64_t kDefault = 8;  // PEFT's, of both
  rank_ = reader.find("r") == nullptr ? kDefault : reader.whole(*reader.find("r"), "r");
  alpha_ = reader.find("lora_alpha") == nullptr ? kDefault
                                                : reader.number(*reader.find("lora_alpha"), "lora_alpha");
  rslora_ = reader.flag("use_rslora");
  fan_in_fan_out_ = reader.flag("fan_in_fan_out");
  dora_ = reader.flag("use_dora");
  lora_bias_ = reader.flag("lora_bias");
  ensure_weight_tying_ = reader.flag("ensure_weight_tying");
  reader.patterns("rank_pattern", ranks_,
                  [&](const auto& v, const char* key) { return reader.whole(v, key); });
  reader.patterns("alpha_pattern", alphas_,
                  [&](const auto& v, const char* key) { return reader.number(v, key); });

  bool is_text = false;
  targets_ = reader.texts("target_modules", is_text);
  all_ = reader.find("target_modules") == nullptr || (is_text && targets_.front() == "all-linear");
  if (is_text && !all_) target_pattern_.emplace_back(targets_.front(), reader.option("target_modules"));
  excluded_ = reader.texts("exclude_modules", is_text);
  if (is_text) {
    if (!excluded_.front().empty())
      excluded_pattern_.emplace_back(excluded_.front(), reader.option("exclude_modules"));
    excluded_.clear();
  }
  for (const std::string& name : reader.texts("modules_to_save", is_text))
    saved_.emplace_back(fmt::format("(^|.*\\.){}($|\\..*)", name), reader.option("modules_to_save"));
  if (const ordered_json* layers = reader.find("layers_to_transform")) {
    layers_ = layers->is_array() ? reader.indices(*layers, "layers_to_transform")
                                 : reader.indices(ordered_json::array({*layers}), "layers_to_transform");
  }
  for (const std::string& name : reader.texts("layers_pattern", is_text)) {
    if (!name.empty())
      layer_patterns_.emplace_back(fmt::format("(?:^|.*?\\.){}\\.(\\d+)\\.", name),
                                   reader.option("layers_pattern"));
  }
  if (layer_patterns_.empty())
    layer_patterns_.emplace_back(".*?\\.[^.]*\\.(\\d+)\\.", reader.option("layers_pattern"));
  constexpr const char* kTokens = "trainable_token_indices";
  if (const ordered_json* tokens = reader.find(kTokens)) {
    if (tokens->is_object()) {
      for (const auto& [module, rows] : tokens->items()) tokens_[module] = reader.indices(rows, kTokens);
    } else {
      tokens_[""] = reader.indices(*tokens, kTokens);
    }
  }
}

int64_t LoraConfig::rank(const std::string& module) const {
  for (const auto& [pattern, rank] : ranks_) {
    if (pattern.matches(module)) return rank;
  }
  return rank_;
}

double LoraConfig::scaling(const std::string& module) const {
  const auto r = static_cast<double>(rank(module));
  const double divisor = rslora_ ? std::sqrt(r) : r;
  for (const auto& [pattern, alpha] : alphas_) {
    if (pattern.matches(module)) return alpha / divisor;
  }
  return alpha_ / divisor;
}

bool LoraConfig::is_saved(const std::string& module) const {
  return std::any_of(saved_.begin(), saved_.end(),
                     [&](const auto& pattern) { return pattern.matches(module); });
}

bool LoraConfig::is_target(const std::string& module) const {
  const auto named = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return ends_with_name(module, name); });
  };
  if (is_saved(module) || named(excluded_)) return false;
  if (!excluded_pattern_.empty() && excluded_pattern_.front().matches(module)) return false;
  if (all_) return true;
  if (!target_pattern_.empty()) return target_pattern_.front().matches(module);
  if (std::find(targets_.begin(), targets_.end(), module) != targets_.end()) return true;
  if (!named(targets_)) return false;
  if (layers_.empty()) return true;
  for (const NamePattern& pattern : layer_patterns_) {
    const int64_t layer = pattern.number_in(module);
    if (layer >= 0) return std::find(layers_.begin(), layers_.end(), layer) != layers_.end();
  }
  return false;
}

const std::vector<int64_t>* LoraConfig::token_indices(const std::string& module) const {
  for (const auto& [name, rows] : tokens_) {
    if (name.empty() || ends_with_name(module, name)) return &rows;
  }
  return nullptr;
}

}  // namespace outliers::io
