#include "outliers/studies/rules.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <toml++/toml.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/suggest.h"

// .incbin, as for the default corpus: the file as it stands.
__asm__(
    ".pushsection .rodata\n"
    ".global outliers_built_in_rules_begin\n"
    ".global outliers_built_in_rules_end\n"
    "outliers_built_in_rules_begin:\n"
    ".incbin \"" OUTLIERS_BUILT_IN_RULES
    "\"\n"
    "outliers_built_in_rules_end:\n"
    ".popsection\n");
extern "C" const char outliers_built_in_rules_begin[];
extern "C" const char outliers_built_in_rules_end[];

namespace outliers::studies {
namespace {

using Names = std::vector<std::string>;

constexpr size_t kShown = 40;
/// Of results::Severity.
constexpr const char* kSeverities[] = {"note", "warning", "severe"};
const Names kKeys = {"id",     "metric", "at",   "bad",    "note",  "warning",
                     "severe", "title",  "text", "advice", "source"};

/// One table of the file.
class RuleReader {
 public:
  RuleReader(const toml::table& table, const std::string& file, size_t number)
      : table_(table), file_(file), name_(fmt::format("rule {}", number)) {}

  Rule read() {
    Rule rule;
    rule.id = text("id", true);
    require(!rule.id.empty(), "the id is empty");
    name_ = "rule " + printable(rule.id, kShown);
    for (const auto& [key, value] : table_) check(std::string(key.str()), kKeys, "key", "keys");
    rule.metric = &metric();
    rule.at = at(*rule.metric);
    const std::string bad = text("bad", true);
    require(bad == "above" || bad == "below",
            "bad is \"{}\"; it should be \"above\" or \"below\" its thresholds", printable(bad, kShown));
    rule.above = bad == "above";
    thresholds(rule);
    rule.title = words("title", true, *rule.metric);
    rule.text = words("text", true, *rule.metric);
    rule.advice = words("advice", false, *rule.metric);
    rule.source = text("source", false);
    return rule;
  }

 private:
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: {}: {}", file_, name_, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void require(bool holds, fmt::format_string<Args...> format, Args&&... args) const {
    if (!holds) refuse(format, std::forward<Args>(args)...);
  }

  /// Refuses a name that is not among the known ones.
  void check(const std::string& name, const Names& known, const char* kind, const char* kinds) const {
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    const std::string near = nearest(name.substr(0, kShown), known);
    refuse("unknown {} {}; {}", kind, printable(name, kShown),
           near.empty() ? fmt::format("{} are {}", kinds, fmt::join(known, ", "))
                        : fmt::format("did you mean {}?", near));
  }

  std::string text(const char* key, bool needed) const {
    const toml::node* node = table_.get(key);
    require(node != nullptr || !needed, "there is no {}", key);
    if (node == nullptr) return {};
    require(node->is_string(), "{} is no text", key);
    return node->as_string()->get();
  }

  const Metric& metric() const {
    const std::string name = text("metric", true);
    Names known;
    for (const Metric& metric : metric_table()) {
      if (metric.name == name) return metric;
      known.push_back(metric.name);
    }
    check(name, known, "metric", "metrics");
    refuse("there is no metric");
  }

  Names at(const Metric& metric) const {
    const toml::node* node = table_.get("at");
    if (node == nullptr) return {};
    require(!metric.at.empty(), "at is set, but {} is of no point or module", metric.name);
    const toml::array* list = node->as_array();
    require(list != nullptr && !list->empty(), "at is no list of texts");
    Names names;
    for (const toml::node& one : *list) {
      require(one.is_string(), "at is no list of texts");
      names.push_back(one.as_string()->get());
      check(names.back(), metric.at, metric.name.starts_with("weight") ? "module" : "place", "places");
    }
    return names;
  }

  void thresholds(Rule& rule) const {
    const char* last = nullptr;
    double before = 0;
    for (size_t i = 0; i < rule.thresholds.size(); ++i) {
      const char* key = kSeverities[i];
      const toml::node* node = table_.get(key);
      if (node == nullptr) continue;
      const std::optional<double> number = node->is_number() ? node->value<double>() : std::nullopt;
      require(number && std::isfinite(*number), "{} is no finite number", key);
      if (last != nullptr) {
        require(rule.above ? *number > before : *number < before,
                "{} is {} and {} is {}: with bad = \"{}\" {} should be {}", last, before, key, *number,
                rule.above ? "above" : "below", key, rule.above ? "larger" : "smaller");
      }
      rule.thresholds[i] = before = *number;
      last = key;
    }
    require(last != nullptr, "there is no threshold; set one of {}", fmt::join(kSeverities, ", "));
  }

  /// A text whose {words} are known.
  std::string words(const char* key, bool needed, const Metric& metric) const {
    std::string all = text(key, needed);
    Names known = metric.words;
    for (const Word& word : common_words()) known.emplace_back(word.name);
    each_word(all, [&](size_t, size_t, std::string_view word) {
      check(std::string(word), known, "word", "words in braces");
    });
    return all;
  }

  const toml::table& table_;
  const std::string& file_;
  std::string name_;
};

}  // namespace

const std::vector<Word>& common_words() {
  static const std::vector<Word> words = {
      {"value", "the metric where it is worst"},
      {"percent", "the same as a percentage"},
      {"threshold", "the threshold that it is beyond"},
      {"layer", "the layer where it is worst"},
      {"layers", "all that are beyond the threshold: \"layer 3\", \"layers 2, 9-11\""},
      {"also",
       "of a severe finding the layers that are beyond the warning only: \", beyond 2 also in layer 5\"; or "
       "nothing"},
      {"at", "the point or module"},
      {"input", "the input where it is worst"},
      {"head", "the head there; \"?\", like the next, where the metric is of none"},
      {"channel", "the channel, of down_in a neuron"},
      {"neuron", "the neuron: a column of the down projection"},
      {"expert", "the expert: \"expert 3\", \"the shared expert\""},
      {"token", "the token's text, in quotes"}};
  return words;
}

std::string_view built_in_rules() {
  return {outliers_built_in_rules_begin,
          static_cast<size_t>(outliers_built_in_rules_end - outliers_built_in_rules_begin)};
}

std::vector<Rule> parse_rules(std::string_view text, const std::string& file) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    const toml::source_position& at = error.source().begin;
    fail("{}: line {}, column {}: no TOML: {}", file, at.line, at.column,
         printable(std::string(error.description()), 200));
  }
  for (const auto& [key, value] : table)
    require(key.str() == "rule", "{}: unknown table {}; rules are [[rule]]", file,
            printable(std::string(key.str()), kShown));
  const toml::array* list = table.get_as<toml::array>("rule");
  require(list != nullptr, "{}: no rules; each is a table [[rule]]", file);
  std::vector<Rule> rules;
  std::set<std::string> ids;
  for (size_t i = 0; i < list->size(); ++i) {
    const toml::table* rule = list->get(i)->as_table();
    require(rule != nullptr, "{}: rule {} is no table [[rule]]", file, i + 1);
    rules.push_back(RuleReader(*rule, file, i + 1).read());
    require(ids.insert(rules.back().id).second, "{}: rule {} is there twice", file,
            printable(rules.back().id, kShown));
  }
  return rules;
}

std::vector<Rule> read_rules(const std::filesystem::path& file) {
  constexpr uint64_t most = uint64_t{1} << 20;
  return parse_rules(read_regular(file, most), printable(file.string(), std::string::npos));
}

}  // namespace outliers::studies
