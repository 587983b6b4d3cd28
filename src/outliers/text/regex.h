// Patterns of tokenizer.json files. Hugging Face runs them with Oniguruma (Ruby syntax); we run them with
// PCRE2, after a translation of everything whose meaning differs (\s, \w, \h, \b, (?m), \uHHHH, ^ and $).
// What cannot be translated is refused by name, never matched differently. One difference remains: \p{...}
// knows the Unicode version of the PCRE2 at hand (10.42: Unicode 14), so that characters younger than it
// count as unassigned where Hugging Face's newer tables know them. The patterns of scanner.h do not have it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace outliers::text {

/// Oniguruma (Ruby) syntax -> PCRE2 syntax. Throws for constructs that have no equal there.
std::string translate_pattern(std::string_view pattern);

/// A compiled pattern; thread-safe.
class Regex {
 public:
  explicit Regex(std::string_view pattern);

  /// The first match in valid UTF-8 at or after `from`, as [begin, end).
  std::optional<std::pair<size_t, size_t>> find(std::string_view text, size_t from) const;

  const std::string& pattern() const { return pattern_; }

 private:
  std::shared_ptr<void> code_;
  std::string pattern_;
  bool jit_ = false;
};

}  // namespace outliers::text
