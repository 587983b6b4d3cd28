#include "outliers/report/summary_text.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/formats.h"
#include "outliers/core/table.h"
#include "outliers/report/features_text.h"
#include "outliers/report/findings_text.h"
#include "outliers/report/format.h"
#include "outliers/report/life_text.h"
#include "outliers/report/lifecycle_text.h"
#include "outliers/report/measured.h"
#include "outliers/report/super_weights_text.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

using Lines = std::vector<SummaryLine>;

Lines line(const char* label, const std::string& text) {
  return {{label, text}};
}

Lines operator+(Lines a, const Lines& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// " in layers 0-3", where the summary tells of these alone.
std::string of_told(const results::Results& r) {
  return r.summary.first_nonfinite ? " in " + layers_words(r) : "";
}

std::string heading(const results::Results& r) {
  const results::Model& m = r.model;
  return fmt::format("{} ({}, {}, {} layers{}, D {}, {} parameters, {})", m.name, m.family, m.format,
                     m.layers, m.experts ? fmt::format(" of {} experts", m.experts->count) : "", m.width,
                     count(m.parameters), bytes(static_cast<double>(m.weight_bytes)));
}

std::string measured(const results::Results& r) {
  std::string prompts, corpora;
  size_t n = 0;
  for (const results::Input* prompt : inputs_of(r, results::InputKind::prompt)) {
    if (++n > 1) continue;
    const std::string patches =
        r.images ? fmt::format("{} x {} patches, ", r.images->rows, r.images->columns) : "";
    prompts = fmt::format("{} {} ({}{} tokens)", r.images ? "image" : "prompt", quoted(prompt->source),
                          patches, prompt->tokens_per_sequence);
  }
  if (n > 1) prompts += fmt::format(" and {} more", n - 1);
  for (const results::Input* corpus : inputs_of(r, results::InputKind::corpus)) {
    if (!corpora.empty()) corpora += " and ";
    if (!r.images)
      corpora += fmt::format("{} x {} tokens of ", corpus->sequences, corpus->tokens_per_sequence);
    corpora += corpus->source;
  }
  return fmt::format("{}{}{}{}, {} on {}", prompts, prompts.empty() || corpora.empty() ? "" : ", ", corpora,
                     r.images ? "" : ", BOS " + r.run.bos, r.run.dtype, r.run.device);
}

/// "7, 9 and 3 more".
template <typename T, typename F>
std::string first_of(const std::vector<T>& list, size_t most, const F& text_of) {
  std::string text;
  for (size_t i = 0; i < std::min(most, list.size()); ++i) text += (i == 0 ? "" : ", ") + text_of(list[i]);
  if (list.size() > most) text += fmt::format(" and {} more", list.size() - most);
  return text;
}

std::string places_of(const results::Life& life) {
  const std::string channels =
      first_of(life.massive_channels, 8, [](int64_t channel) { return fmt::format("{}", channel); });
  const std::string tokens = first_of(life.massive_tokens, 5, [](const results::MassiveToken& token) {
    return fmt::format("{} {} (layers {}-{})", token.token, quoted(token.text), token.first_layer,
                       token.last_layer);
  });
  return channels.empty() ? "" : fmt::format("channels {}; tokens {}", channels, tokens);
}

Lines places(const results::Results& r) {
  const results::Input* prompt = r.prompt();
  const results::Life* life = prompt == nullptr ? nullptr : life_of(r, *prompt);
  if (life == nullptr) return {};
  if (r.told_layers() == 0) return line("massive", "cannot be told");
  const std::string text = places_of(*life);
  if (!text.empty()) return line("massive", text);
  return line("massive",
              fmt::format("no activation is above {} and above {} medians{}", limit(r.criteria.massive_above),
                          limit(r.criteria.massive_ratio), of_told(r)));
}

/// Of each prompt but the first its life in a line.
Lines further_prompts(const results::Results& r) {
  Lines lines;
  for (const results::Input* prompt : inputs_of(r, results::InputKind::prompt)) {
    const results::Life* life = life_of(r, *prompt);
    if (life == nullptr || prompt == r.prompt()) continue;
    const std::string massive = places_of(*life);
    lines.push_back({printable(prompt->name, kLabelColumns - 2),
                     fmt::format("{} ({} tokens): {}{}", quoted(prompt->source), prompt->tokens_per_sequence,
                                 life_sentence(r, prompt), massive.empty() ? "" : "; massive " + massive)});
  }
  return lines;
}

Lines weights(const results::Results& r) {
  struct Score {
    const results::Weight* weight;
    int64_t layer;
    std::string module;
  };
  std::vector<Score> scores;
  std::string left_out;
  int64_t matrices = 0;
  for (const results::Layer& layer : r.layers) {
    if (!layer.weights) continue;
    for (const auto& [name, weight] : layer.weights->modules) {
      const std::string module = of_expert(weight.expert) + name;
      if (weight.nonfinite != 0 && ++matrices <= 3) {
        left_out += fmt::format("{}{} at layer {} {}", left_out.empty() ? "" : ", ", count(weight.nonfinite),
                                layer.layer, module);
      }
      if (std::isfinite(weight.score)) scores.push_back({&weight, layer.layer, module});
    }
  }
  if (scores.empty()) return {};
  std::stable_sort(scores.begin(), scores.end(),
                   [](const Score& a, const Score& b) { return a.weight->score > b.weight->score; });
  const double median = scores[scores.size() / 2].weight->score;
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, scores.size()); ++i) {
    const results::Weight& w = *scores[i].weight;
    text += fmt::format("{}{} at layer {} {} {} {}", i == 0 ? "" : ", ", number(w.score), scores[i].layer,
                        scores[i].module, w.axis == results::Axis::column ? "column" : "row", w.index);
  }
  if (matrices > 3) left_out += fmt::format(" and in {} more matrices", matrices - 3);
  if (matrices > 0) left_out = "; left out, as NaN or infinite: " + left_out;
  return line("weights", fmt::format("max/mean of abs W {}; median of all projections {}{}", text,
                                     number(median), left_out));
}

Lines attention(const results::Results& r, const results::Input& corpus) {
  const auto layers = attention_layers(r, corpus);
  if (layers.empty()) return {};
  const auto told = static_cast<size_t>(std::min(r.told_layers(), r.model.layers));
  if (told == 0) return line("attention", "cannot be told");
  size_t best = 0;
  double best_score = -1, sink = 0;
  int64_t heads = 0, keys = 0;
  std::map<std::string, int64_t> classes;
  for (size_t l = 0; l < told; ++l) {
    const double score = layers[l]->top_keys.empty() ? best_score : layers[l]->top_keys[0].score;
    if (score > best_score) {
      best_score = score;
      best = l;
    }
    for (const results::Head& head : layers[l]->heads) {
      sink += head.sink_rate;
      ++heads;
    }
    for (const results::Key& key : layers[l]->outlier_keys) {
      ++classes[key.token_class];
      ++keys;
    }
  }
  if (best_score < 0 || heads == 0) return {};
  std::string text = fmt::format(
      "{}layer {}: one key ({}) receives {} of its sequence's probability; sink rate {} over all heads{}",
      place_of(r, corpus) == 0 ? "" : "of " + printable(corpus.name, 40) + ", ", best,
      quoted(layers[best]->top_keys[0].token_text),
      percent(best_score / static_cast<double>(corpus.tokens_per_sequence)),
      percent(sink / static_cast<double>(heads)), of_told(r));
  if (keys > 0) {
    text += "; outlier keys are";
    std::vector<std::pair<int64_t, std::string>> order;
    for (const auto& [name, n] : classes) order.emplace_back(n, name);
    std::sort(order.rbegin(), order.rend());
    for (size_t i = 0; i < order.size(); ++i) {
      text += fmt::format("{} {} {}", i == 0 ? "" : ",", class_words(order[i].second),
                          percent(static_cast<double>(order[i].first) / static_cast<double>(keys)));
    }
  }
  return line("attention", text);
}

Lines attention(const results::Results& r) {
  Lines lines;
  for (const results::Input* corpus : inputs_of(r, results::InputKind::corpus)) {
    for (SummaryLine& one : attention(r, *corpus)) lines.push_back(std::move(one));
  }
  return lines;
}

bool was_measured(const results::Results& r, std::string_view measure) {
  return std::find(r.run.measures.begin(), r.run.measures.end(), measure) != r.run.measures.end();
}

/// "11", with its corpus where there are several.
std::string place(const results::Results& r, const results::OutlierLayer& layer) {
  const bool one = inputs_of(r, results::InputKind::corpus).size() == 1;
  return fmt::format("{}{}", layer.layer, one ? "" : fmt::format(" ({})", printable(layer.input, 40)));
}

/// Why weights alone do not tell the neuron.
std::string exception(const results::Results& r, const results::OutlierLayer& layer) {
  const auto &weight = layer.top_weight, &activation = layer.top_activation, &product = layer.top_product;
  const auto named = [](const results::AlignedNeuron& n) {
    return fmt::format("{}neuron {}", of_expert(n.expert), n.neuron);
  };
  std::string text = fmt::format("layer {}: the top weight is in {}column {} (max/mean {})", place(r, layer),
                                 of_expert(weight.expert), weight.neuron, number(weight.ratio));
  if (weight.down_in) text += fmt::format(", whose neuron reaches {}", number(*weight.down_in));
  text += fmt::format("; {} ({}) reaches {}", named(activation), number(activation.ratio),
                      number(activation.down_in.value_or(results::kNone)));
  return text + fmt::format("; the most is written by {}, {} to channel {}", named(product),
                            number(product.product.value_or(results::kNone)), product.row);
}

/// How often the top column is the top channel: where down_in has outliers, and in all layers.
std::string weights_and_activations(const results::Results& r) {
  const std::optional<results::OutlierLayers>& of = r.summary.alignment.outlier_layers;
  const std::optional<double>& all = r.summary.alignment.weight_activation;
  const std::string same = "the top weight column is the top down_in channel in ",
                    above = limit(r.criteria.outlier_token_ratio),
                    of_all = all ? percent(*all) + " of all layers" : "";
  if (!of) return all ? same + of_all : "";
  if (of->layers.empty())
    return fmt::format("no layer's down_in has a value above {} means{}", above,
                       all ? "; " + same + of_all : "");
  std::vector<results::OutlierLayer> others;
  for (const results::OutlierLayer& layer : of->layers) {
    if (!layer.aligned) others.push_back(layer);
  }
  const std::string places =
      first_of(of->layers, 12, [&](const results::OutlierLayer& layer) { return place(r, layer); });
  std::string text = fmt::format("{}{} of the {} layers with values above {} means there ({}){}", same,
                                 of->layers.size() - others.size(), of->layers.size(), above, places,
                                 all ? ", in " + of_all : "");
  if (others.empty()) return text;
  return text + "; not in " +
         first_of(others, 2, [&](const results::OutlierLayer& layer) { return exception(r, layer); });
}

Lines alignment(const results::Results& r) {
  if (!was_measured(r, "alignment")) return {};
  if (r.told_layers() == 0) return line("alignment", "cannot be told");
  std::string text = weights_and_activations(r);
  if (const std::optional<double>& keys = r.summary.alignment.activation_attention) {
    text += fmt::format("{}{} of outlier keys are outlier tokens", text.empty() ? "" : "; ", percent(*keys));
  }
  return text.empty() ? Lines{} : line("alignment", text + of_told(r));
}

std::string headroom_text(const results::Results& r, const std::string& point, const results::Headroom& h) {
  std::string reaches = point + " reaches";
  if (const auto& first = r.summary.first_nonfinite) {
    reaches = h.nonfinite == 0
                  ? fmt::format("before layer {} {}", first->layer, reaches)
                  : fmt::format("{} is not finite from layer {} on ({} values); before it reaches", point,
                                first->layer, count(h.nonfinite));
  }
  std::string text = fmt::format(
      "{} {} in layer {}{}: {} of float16's range{}, {} times e4m3's {}", reaches, number(h.max), h.layer,
      h.input.empty() ? "" : fmt::format(" ({})", input_words(r, h.input)), percent(h.of_fp16_max),
      h.of_fp16_max > 1 ? " (it overflows)" : "", number(h.of_fp8_e4m3_max), limit(r.criteria.fp8_e4m3_max));
  if (h.int8_step_over_median)
    text += fmt::format(", one int8 step is {} medians", number(*h.int8_step_over_median));
  return text;
}

Lines headroom(const results::Results& r) {
  std::string text;
  for (const auto& [point, h] : r.summary.headroom) {
    if (!h && !r.summary.first_nonfinite) continue;
    text += text.empty() ? "" : "; ";
    text += h ? headroom_text(r, point, *h) : point + " cannot be told";
  }
  return text.empty() ? Lines{} : line("head-room", text);
}

std::string overflow_text(const results::Results& r, const NumberFormat& format, const results::Overflow& o) {
  std::string place;
  if (o.token) place = " of " + token_name(*o.token_text, *o.token_class, *o.token);
  if (!o.token && o.head) place = fmt::format(" of head {}", *o.head);
  return fmt::format("past {}'s {} first {}: {}{} {}{} ({})", format.title, limit(o.largest),
                     o.layer ? fmt::format("in layer {}", *o.layer) : "after the last layer",
                     of_expert(o.expert), o.point, number(std::abs(o.value)), place, input_words(r, o.input));
}

Lines overflow(const results::Results& r) {
  std::string text, holding;
  for (const NumberFormat& format : kNumberFormats) {
    const std::optional<results::Overflow>* first = r.summary.first_overflow.find(format.name);
    if (first == nullptr) continue;
    if (*first) {
      text += (text.empty() ? "" : "; ") + overflow_text(r, format, **first);
    } else {
      holding += (holding.empty() ? "" : ", ") + std::string(format.title);
    }
  }
  if (!holding.empty()) text += (text.empty() ? "" : "; ") + fmt::format("no value is past {}", holding);
  return text.empty() ? Lines{} : line("overflow", text + of_told(r));
}

/// Of each format the place that loses most, "NVFP4 31 % (layer 3 down_in)", and of all of them the one where
/// most values become 0. each(take) calls take(layer, name, rounded).
template <typename Each>
std::string most_lost(const Each& each) {
  std::string text, gone;
  double most_gone = 0;
  for (const NumberFormat& format : kNumberFormats) {
    double most = -1;
    std::string where;
    each([&](int64_t layer, const std::string& name, const results::Rounded& rounded) {
      const results::Rounding* lost = rounded.formats.find(format.name);
      if (lost == nullptr) return;
      const std::string here = fmt::format("layer {} {}", layer, name);
      if (lost->relative_error > most) {
        most = lost->relative_error;
        where = here;
      }
      if (lost->flushed > most_gone) {
        most_gone = lost->flushed;
        gone = fmt::format("; {} makes {} of the values 0 in {}", format.title, percent(most_gone), here);
      }
    });
    if (most < 0) continue;
    text += fmt::format("{}{} {} ({})", text.empty() ? "" : ", ", format.title, percent(most), where);
  }
  return text + gone;
}

Lines rounding(const results::Results& r) {
  const std::string inputs = most_lost([&](const auto& take) {
    for (const results::Layer& layer : r.layers) {
      if (layer.layer >= r.told_layers()) continue;
      for (const auto& [name, input] : layer.inputs) {
        for (const auto& [point, rounded] : input.rounding) take(layer.layer, point, rounded);
      }
    }
  });
  const std::string weights = most_lost([&](const auto& take) {
    for (const results::Layer& layer : r.layers) {
      for (const auto& [module, rounded] : layer.rounding) take(layer.layer, module, rounded);
    }
  });
  std::string text;
  if (!inputs.empty()) text = "of what linear layers read at most " + inputs + of_told(r);
  if (!weights.empty()) text += (text.empty() ? "" : "; ") + ("of weights at most " + weights);
  return text.empty() ? Lines{} : line("rounding", "relative error " + text);
}

Lines norms(const results::Results& r) {
  const results::Input* corpus = r.corpus();
  const auto layers = corpus == nullptr ? Layers<results::Norms>() : norm_layers(r, *corpus);
  if (layers.empty()) return {};
  if (!r.summary.norms) return line("norms", "cannot be told");
  const results::NormSummary& n = *r.summary.norms;
  const results::PatchPlace& largest = layers[static_cast<size_t>(n.layer)]->patches.largest;
  std::string text = fmt::format("after the last layer patches have {} (median), at most {} ({} of image {})",
                                 number(n.patch_median), number(n.patch_max),
                                 printable(largest.token_text, 24), largest.sequence);
  text += fmt::format(", CLS {}", number(n.cls_median));
  if (std::isfinite(n.register_median)) text += fmt::format(", registers {}", number(n.register_median));
  const std::string high = limit(r.criteria.high_patch_norm);
  text += n.high_patches == 0 ? "; no patch is above " + high
                              : fmt::format("; {} of patches ({}) are above {}", percent(n.high_share),
                                            count(n.high_patches), high);
  return line("norms", text);
}

Lines cost(const results::Results& r) {
  const results::Seconds& s = r.run.seconds;
  std::string text =
      fmt::format("load {}, forward {}, statistics {}; peak memory {}", seconds(s.load), seconds(s.forward),
                  seconds(s.statistics), bytes(static_cast<double>(r.run.peak_host_bytes)));
  if (r.run.peak_device_bytes != 0)
    text += fmt::format(", {} on the device", bytes(static_cast<double>(r.run.peak_device_bytes)));
  return line("cost", text);
}

Lines nonfinite(const results::Results& r) {
  int64_t n = 0;
  for (const results::Input& input : r.inputs) {
    for (const char* point : results::kPoints) {
      for (const results::Activations* layer : activation_layers(r, input, point)) n += layer->nonfinite;
    }
  }
  return n == 0
             ? Lines{}
             : line("warning",
                    fmt::format("{} activations are NaN or infinite; they are left out of every number above",
                                count(n)));
}

}  // namespace

Lines summary_lines(const results::Results& r, bool whole) {
  return line("measured", measured(r)) + life_lines(r) + line("", "") + episode_lines(r) +
         (whole ? lifecycle_lines(r) : Lines()) + places(r) + further_prompts(r) + weights(r) +
         super_weight_lines(r) + attention(r) + alignment(r) + feature_lines(r) + headroom(r) + overflow(r) +
         rounding(r) + norms(r) + nonfinite(r) + finding_lines(r) + cost(r);
}

std::string summary_text(const results::Results& r, size_t width, bool whole) {
  std::string text = fold(heading(r), width, 0) + "\n";
  for (const SummaryLine& l : summary_lines(r, whole)) {
    if (l.label.empty()) {
      for (const std::string& row : life_strip(r, width - kLabelColumns))
        text += std::string(kLabelColumns, ' ') + row + "\n";
      continue;
    }
    text += labelled(l.label, l.text, width);
    if (l.label == "measured") text += "\n";
  }
  return text;
}

}  // namespace outliers::report
