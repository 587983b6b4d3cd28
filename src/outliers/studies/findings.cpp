#include "outliers/studies/findings.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "outliers/measures/measure.h"
#include "outliers/report/format.h"
#include "outliers/report/words.h"

namespace outliers::studies {
namespace {

using results::Finding;
using results::Severity;

/// "layer 3", "layers 2, 9-11".
std::string layers_words(const std::vector<int64_t>& layers) {
  return fmt::format("{} {}", layers.size() == 1 ? "layer" : "layers", report::ranges(layers));
}

/// Whole numbers without a point.
std::string value_words(double value) {
  const bool is_count = value == std::floor(value) && std::abs(value) < 1e6;
  return is_count ? report::count(static_cast<int64_t>(value)) : report::number(value);
}

/// A rule on the samples of one point or module.
struct Beyond {
  const Rule& rule;
  const std::vector<const Sample*>& samples;

  bool operator()(double value, double threshold) const {
    return rule.above ? value > threshold : value < threshold;
  }
  std::vector<int64_t> layers(double threshold) const {
    std::vector<int64_t> list;
    for (const Sample* sample : samples) {
      if (sample->place.layer && (*this)(sample->value, threshold)) list.push_back(*sample->place.layer);
    }
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
  }
};

/// Of a severe finding the layers that are bad enough for a warning only: ", beyond 7.6 also in layers 1-2".
std::string also(const Beyond& beyond, const Finding& finding) {
  const std::optional<double>& warning = beyond.rule.thresholds[static_cast<size_t>(Severity::warning)];
  if (finding.severity != Severity::severe || !warning) return "";
  std::vector<int64_t> layers = beyond.layers(*warning);
  std::erase_if(layers, [&](int64_t layer) {
    return std::binary_search(finding.place.layers.begin(), finding.place.layers.end(), layer);
  });
  if (layers.empty()) return "";
  return fmt::format(", beyond {} also in {}", report::limit(*warning), layers_words(layers));
}

std::string word(const std::string& name, const results::Results& r, const Beyond& beyond,
                 const Sample& worst, const Finding& finding) {
  const results::FindingPlace& place = finding.place;
  const auto number_of = [](const std::optional<int64_t>& x) { return x ? fmt::format("{}", *x) : "?"; };
  if (const std::string* own = worst.words.find(name)) return *own;
  if (name == "value") return value_words(finding.value);
  if (name == "percent") return report::percent(finding.value);
  if (name == "threshold") return report::limit(finding.threshold);
  if (name == "layer") return number_of(place.layer);
  if (name == "layers") return place.layers.empty() ? "the model" : layers_words(place.layers);
  if (name == "also") return also(beyond, finding);
  if (name == "at") return place.point.empty() ? place.module : place.point;
  if (name == "input") return report::input_words(r, place.input);
  if (name == "head") return number_of(place.head);
  if (name == "channel") return number_of(place.channel);
  if (name == "neuron") return number_of(place.neuron);
  if (name == "expert") return place.expert ? report::expert_words(*place.expert) : "no expert";
  if (name == "token") return place.token_text.empty() ? "?" : report::quoted(place.token_text);
  return fmt::format("no {} of {}", name, beyond.rule.metric->name);
}

/// `text` with its words filled in.
template <typename Of>
std::string filled(const std::string& text, const Of& of) {
  std::string out;
  size_t from = 0;
  each_word(text, [&](size_t begin, size_t end, std::string_view name) {
    out += text.substr(from, begin - from) + of(std::string(name));
    from = end;
  });
  return out + text.substr(from);
}

/// Of the samples of one point or module; nothing where all is well.
std::optional<Finding> judge(const results::Results& r, const Rule& rule,
                             const std::vector<const Sample*>& samples) {
  const Beyond beyond{rule, samples};
  const Sample& worst = **std::min_element(samples.begin(), samples.end(), [&](const auto* a, const auto* b) {
    return beyond(a->value, b->value);
  });
  Finding finding;
  bool found = false;
  for (size_t i = 0; i < rule.thresholds.size(); ++i) {
    if (!rule.thresholds[i] || !beyond(worst.value, *rule.thresholds[i])) continue;
    found = true;
    finding.severity = static_cast<Severity>(i);
    finding.threshold = *rule.thresholds[i];
  }
  if (!found) return std::nullopt;
  finding.id = rule.id;
  finding.metric = rule.metric->name;
  finding.value = worst.value;
  finding.place = worst.place;
  finding.place.layers = beyond.layers(finding.threshold);
  const auto of = [&](const std::string& name) { return word(name, r, beyond, worst, finding); };
  finding.title = filled(rule.title, of);
  finding.text = filled(rule.text, of);
  finding.advice = filled(rule.advice, of);
  finding.source = rule.source;
  return finding;
}

}  // namespace

std::vector<Finding> findings(const results::Results& results, const std::vector<Rule>& rules) {
  std::vector<Finding> found;
  for (const Rule& rule : rules) {
    const std::vector<Sample> samples = rule.metric->samples(results);
    results::Named<std::vector<const Sample*>> by_place;  // of each point or module
    for (const Sample& sample : samples) {
      const std::string at = sample.place.point.empty() ? sample.place.module : sample.place.point;
      const bool looks = rule.at.empty() || std::find(rule.at.begin(), rule.at.end(), at) != rule.at.end();
      if (looks && std::isfinite(sample.value)) by_place[at].push_back(&sample);
    }
    for (const auto& [at, here] : by_place) {
      if (std::optional<Finding> finding = judge(results, rule, here)) found.push_back(std::move(*finding));
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return found;
}

std::vector<std::string> measures_of(const std::vector<Rule>& rules, const models::Config& config) {
  std::vector<std::string> names;
  for (const measures::MeasureInfo& measure : measures::measure_table()) {
    const bool read = std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) {
      const auto& all = rule.metric->measures;
      return std::find(all.begin(), all.end(), measure.name) != all.end();
    });
    if (read && measure.applies_to(config)) names.emplace_back(measure.name);
  }
  return names;
}

}  // namespace outliers::studies
