// adapter_config.json of a LoRA adapter (PEFT 0.21.2): what merging needs of its options. Every option is
// merged as PEFT does, of no effect on merged weights, or refused by name; docs/formats.md has the table.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace outliers::io {

/// A regular expression of Python's re, as far as PCRE2 reads it alike.
class NamePattern {
 public:
  /// `option` names what it stands in, for messages. Throws for one that does not compile.
  NamePattern(const std::string& pattern, const std::string& option);
  /// Whether the whole name matches.
  bool matches(const std::string& name) const;
  /// The number in the first group where the name's beginning matches; -1 where it does not.
  int64_t number_in(const std::string& name) const;

 private:
  /// The first group's text, "" where there is none; false where nothing matches.
  bool match(const std::string& name, bool whole, std::string& group) const;

  std::shared_ptr<void> code_;
  std::string option_;
};

class LoraConfig {
 public:
  /// Throws for another kind of adapter, and for options that are refused or malformed. Warns of unknown
  /// options that are numbers or texts; others that are on are refused.
  explicit LoraConfig(const std::filesystem::path& file);

  /// For a module by PEFT's name ("model.layers.0.self_attn.q_proj").
  int64_t rank(const std::string& module) const;
  /// lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora (2312.03732).
  double scaling(const std::string& module) const;
  /// Whether PEFT puts LoRA on it: target_modules, exclude_modules, layers_to_transform, modules_to_save.
  bool is_target(const std::string& module) const;
  /// Whether it is one of modules_to_save, or within one.
  bool is_saved(const std::string& module) const;
  /// The rows of trainable_token_indices; nullptr where the module has none.
  const std::vector<int64_t>* token_indices(const std::string& module) const;

  bool fan_in_fan_out() const { return fan_in_fan_out_; }
  bool dora() const { return dora_; }
  bool bias_of_b() const { return lora_bias_; }
  bool ties_weights() const { return ensure_weight_tying_; }

 private:
  struct Reader;

  /// In the order of the file: the first that matches counts.
  template <typename T>
  using Patterns = std::vector<std::pair<NamePattern, T>>;

  int64_t rank_ = 0;
  double alpha_ = 0;
  bool rslora_ = false, fan_in_fan_out_ = false, dora_ = false, lora_bias_ = false,
       ensure_weight_tying_ = false;
  Patterns<int64_t> ranks_;
  Patterns<double> alphas_;
  bool all_ = false;                                            // target_modules is null or all-linear
  std::vector<NamePattern> target_pattern_, excluded_pattern_;  // one each at most
  std::vector<std::string> targets_, excluded_;
  std::vector<int64_t> layers_;
  std::vector<NamePattern> layer_patterns_, saved_;
  std::map<std::string, std::vector<int64_t>> tokens_;  // by the end of the module's name; "" is any
};

}  // namespace outliers::io
