#include "outliers/report/features_text.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/report/format.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

constexpr size_t kNamed = 4;  // of a list

/// "channel 3", "channels 3, 8, 9, 10 and 5 more".
std::string channels_words(const std::vector<int64_t>& channels) {
  std::string text;
  for (size_t i = 0; i < std::min(channels.size(), kNamed); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", channels[i]);
  if (channels.size() > kNamed) text += fmt::format(" and {} more", channels.size() - kNamed);
  return (channels.size() == 1 ? "channel " : "channels ") + text;
}

/// Of the first corpus, else the first prompt.
const results::Input* subject(const results::Results& r) {
  return r.corpus() != nullptr ? r.corpus() : r.prompt();
}

std::string residual_sinks(const results::Results& r, const results::Input& input) {
  std::map<int64_t, int64_t> layers_of;
  for (const results::Layer& layer : r.layers) {
    const results::LayerInput* of = layer.inputs.find(input.name);
    if (of == nullptr || of->residual_sinks.empty() || layer.layer >= r.told_layers()) continue;
    for (const results::ResidualSink& sink : of->residual_sinks) ++layers_of[sink.channel];
  }
  if (layers_of.empty()) return {};
  std::vector<std::pair<int64_t, int64_t>> order(layers_of.begin(), layers_of.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<int64_t> channels;
  for (const auto& [channel, count_of] : order) channels.push_back(channel);
  return fmt::format("{} {} large in most tokens", channels_words(channels),
                     channels.size() == 1 ? "is" : "are");
}

std::string int8_outliers(const results::Input& input) {
  if (!input.int8_outliers) return {};
  std::vector<int64_t> channels;
  for (const results::Int8Outlier& outlier : *input.int8_outliers) channels.push_back(outlier.channel);
  if (channels.size() > 1) return fmt::format("LLM.int8() keeps {} channels", channels.size());
  return "LLM.int8() keeps " + (channels.empty() ? "none" : channels_words(channels));
}

std::string heads(const results::InactiveHeads& heads) {
  return fmt::format("{} of {} heads dormant, {} dead", count(heads.dormant), count(heads.heads),
                     count(heads.dead));
}

std::string sinks(const results::SecondarySinks& sinks) {
  return fmt::format("{} secondary {}", count(sinks.count), sinks.count == 1 ? "sink" : "sinks");
}

std::string experts(const std::vector<results::SuperExpert>& list) {
  if (list.empty()) return "no super expert";
  std::string text;
  for (size_t i = 0; i < std::min(list.size(), kNamed); ++i)
    text += fmt::format("{}{} of layer {} ({})", i == 0 ? "" : ", ", list[i].expert.number, list[i].layer,
                        number(list[i].down_out_max));
  if (list.size() > kNamed) text += fmt::format(" and {} more", list.size() - kNamed);
  return "super experts " + text;
}

std::string vocabulary(const results::VocabularySpikes& v) {
  std::string text = fmt::format("{} of {} tokens spike at position 0", percent(v.share), count(v.tokens));
  if (v.channel) text += fmt::format(", most of them in channel {}", *v.channel);
  if (v.exceptions.empty()) return text;
  text += 2 * v.spiking > v.tokens ? "; not " : "; ";
  for (size_t i = 0; i < std::min(v.exceptions.size(), kNamed); ++i)
    text += fmt::format("{}{} (at most {})", i == 0 ? "" : ", ", quoted(v.exceptions[i].token_text),
                        number(v.exceptions[i].max));
  return text;
}

}  // namespace

std::vector<SummaryLine> feature_lines(const results::Results& r) {
  const results::Input* input = subject(r);
  std::vector<SummaryLine> lines;
  const auto add = [&](const char* label, const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) {
      if (!part.empty()) text += (text.empty() ? "" : "; ") + part;
    }
    if (!text.empty()) lines.push_back({label, text});
  };
  const results::Summary& s = r.summary;
  add("features",
      {input == nullptr ? "" : residual_sinks(r, *input), input == nullptr ? "" : int8_outliers(*input),
       s.inactive_heads ? heads(*s.inactive_heads) : "", s.secondary_sinks ? sinks(*s.secondary_sinks) : ""});
  if (s.super_experts) add("experts", {experts(*s.super_experts)});
  if (r.vocabulary) add("vocabulary", {vocabulary(*r.vocabulary)});
  return lines;
}

}  // namespace outliers::report
