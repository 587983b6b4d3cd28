// Rules: which metric is bad from where on, what that means and what to do. A table in TOML: docs/rules.md.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/studies/metrics.h"

namespace outliers::studies {

struct Rule {
  std::string id;
  const Metric* metric = nullptr;
  std::vector<std::string> at;  ///< the points or modules that it looks at; none: all of the metric's
  bool above = true;            ///< a value is bad above a threshold; else below
  /// By results::Severity; nothing: never so bad. One there is at least, and each is beyond the one before.
  std::array<std::optional<double>, 3> thresholds;
  std::string title, text, advice, source;  ///< with {words} to be filled in
};

/// The built-in ones, data/rules.toml, as they stand there.
std::string_view built_in_rules();
/// Reads rules. `file` names them in errors, which are one line: where it is no TOML the line and column, a
/// key, metric, point or word that is not known with the nearest that is, a value of another type, thresholds
/// out of order.
std::vector<Rule> parse_rules(std::string_view text, const std::string& file);
/// The same of a file. Throws ErrorKind::file where it cannot be read.
std::vector<Rule> read_rules(const std::filesystem::path& file);

/// What a rule's texts may say in braces: those of all metrics and the metric's own.
struct Word {
  const char* name;
  const char* what;
};
const std::vector<Word>& common_words();

/// The places of {words} in a text: visit(begin, end, word), from "{" to behind "}".
template <typename Visit>
void each_word(std::string_view text, const Visit& visit) {
  for (size_t open = text.find('{'); open != std::string_view::npos; open = text.find('{', open + 1)) {
    const size_t close = text.find('}', open);
    if (close == std::string_view::npos) return;
    visit(open, close + 1, text.substr(open + 1, close - open - 1));
  }
}

}  // namespace outliers::studies
