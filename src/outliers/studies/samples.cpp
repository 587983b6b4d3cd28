#include "outliers/studies/samples.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "outliers/report/numbers.h"
#include "outliers/report/words.h"

namespace outliers::studies {

using report::number;
using results::Activations;
using results::Results;
using results::Weight;

namespace {

/// visit(layer, input, its part) of each that the summary tells of.
template <typename Visit>
void each_part(const Results& r, const Visit& visit) {
  const auto told = static_cast<size_t>(r.told_layers());
  for (size_t l = 0; l < told; ++l) {
    for (const results::Input& input : r.inputs)
      visit(r.layers[l], input, *r.layers[l].inputs.find(input.name));
  }
}

/// Of each layer of each corpus what `put(attention, corpus, sample)` makes of its attention.
template <typename Put>
Samples of_attention(const Results& r, const Put& put) {
  Samples samples;
  each_part(r,
            [&](const results::Layer& layer, const results::Input& input, const results::LayerInput& part) {
              if (input.is_prompt() || !part.attention || part.attention->nonfinite != 0) return;
              Sample sample;
              sample.place.layer = layer.layer;
              sample.place.input = input.name;
              put(*part.attention, input, sample);
              samples.push_back(std::move(sample));
            });
  return samples;
}

}  // namespace

Samples of_points(const Results& r, const std::function<double(const Activations&)>& value) {
  Samples samples;
  each_part(r,
            [&](const results::Layer& layer, const results::Input& input, const results::LayerInput& part) {
              for (const char* point : results::kPoints) {
                const Activations* x = part.activations(point);
                if (x == nullptr || x->nonfinite != 0) continue;
                Sample sample{value(*x), {}};
                sample.place.layer = layer.layer;
                sample.place.point = point;
                sample.place.input = input.name;
                sample.words["max"] = number(x->max);
                sample.words["median"] = number(x->median);
                if (!x->top.empty()) {
                  const results::Place& top = x->top[0];
                  sample.place.channel = top.channel;
                  sample.place.expert = top.expert;
                  if (input.is_prompt())
                    sample.place.token_text = input.tokens[static_cast<size_t>(top.token)];
                }
                samples.push_back(std::move(sample));
              }
            });
  return samples;
}

double over_median(const Activations& x) {
  return x.median > 0 ? x.max / x.median : results::kNone;
}

Samples massive(const Results& r) {
  Samples samples;
  each_part(r,
            [&](const results::Layer& layer, const results::Input& input, const results::LayerInput& part) {
              for (const char* point : results::kPoints) {
                const Activations* x = part.activations(point);
                if (x == nullptr || x->massive.empty() || x->nonfinite != 0) continue;
                const auto& largest = *std::max_element(
                    x->massive.begin(), x->massive.end(),
                    [](const auto& a, const auto& b) { return std::abs(a.value) < std::abs(b.value); });
                Sample sample{over_median(*x), {}};
                sample.place.layer = layer.layer;
                sample.place.point = point;
                sample.place.input = input.name;
                sample.place.channel = largest.channel;
                sample.place.expert = largest.expert;
                sample.place.token_text = largest.token_text.value_or("");
                std::vector<int64_t> channels;
                for (const results::Place& place : x->massive) {
                  if (std::find(channels.begin(), channels.end(), place.channel) == channels.end())
                    channels.push_back(place.channel);
                }
                sample.words["max"] = number(x->max);
                sample.words["channels"] = channels.size() == 1 ? fmt::format("channel {}", channels[0])
                                                                : fmt::format("{} channels", channels.size());
                samples.push_back(std::move(sample));
              }
            });
  return samples;
}

Samples of_weights(const Results& r, const std::function<void(const Weight&, Sample&)>& put) {
  Samples samples;
  for (const results::Layer& layer : r.layers) {
    if (!layer.weights) continue;
    for (const auto& [module, weight] : layer.weights->modules) {
      Sample sample;
      sample.place.layer = layer.layer;
      sample.place.module = module;
      sample.place.expert = weight.expert;
      put(weight, sample);
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

void put_score(const Weight& weight, Sample& sample) {
  sample.value = weight.score;
  sample.words["line"] =
      fmt::format("{} {}", weight.axis == results::Axis::column ? "column" : "row", weight.index);
}

void put_row(const Weight& weight, Sample& sample) {
  sample.value = weight.top_rows.empty() ? results::kNone : weight.top_rows[0].ratio;
  sample.words["line"] = weight.top_rows.empty() ? "" : fmt::format("row {}", weight.top_rows[0].row);
}

Samples sink_rates(const Results& r) {
  if (r.images) return {};
  return of_attention(r, [](const results::Attention& attention, const results::Input&, Sample& sample) {
    for (const results::Head& head : attention.heads) sample.value += head.sink_rate;
    sample.value /= static_cast<double>(attention.heads.size());
  });
}

Samples top_keys(const Results& r) {
  return of_attention(
      r, [](const results::Attention& attention, const results::Input& input, Sample& sample) {
        sample.value = results::kNone;
        if (attention.top_keys.empty()) return;
        sample.value = attention.top_keys[0].score / static_cast<double>(input.tokens_per_sequence);
        sample.place.token_text = attention.top_keys[0].token_text;
      });
}

Samples later_keys(const Results& r) {
  Samples samples;
  if (r.images) return samples;
  for (const results::Input& input : r.inputs) {
    int64_t keys = 0, later = 0;
    results::Named<int64_t> texts;
    each_part(r, [&](const results::Layer&, const results::Input& of, const results::LayerInput& part) {
      if (of.name != input.name || of.is_prompt() || !part.attention) return;
      for (const results::Key& key : part.attention->outlier_keys) {
        ++keys;
        later += key.key > 0;
        if (key.key > 0) ++texts[key.token_text];
      }
    });
    if (keys == 0) continue;
    Sample sample{static_cast<double>(later) / static_cast<double>(keys), {}};
    sample.place.input = input.name;
    const auto most = std::max_element(texts.begin(), texts.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != texts.end()) sample.place.token_text = most->first;
    samples.push_back(std::move(sample));
  }
  return samples;
}

Samples not_finite(const Results& r) {
  if (!r.summary.first_nonfinite) return {};
  const results::FirstNonfinite& first = *r.summary.first_nonfinite;
  Sample sample{static_cast<double>(r.model.layers - first.layer), {}};
  sample.place.layer = first.layer;
  sample.place.point = first.point;
  sample.place.input = first.input;
  sample.place.channel = first.channel;
  sample.place.expert = first.expert;
  sample.place.token_text = first.token_text;
  sample.words["what"] = first.value;
  sample.words["dtype"] = r.run.dtype;
  return {sample};
}

Samples births(const Results& r) {
  Samples samples;
  for (const results::Life& life : r.summary.lives) {
    if (!life.found || !life.born_layer) continue;
    const results::Input& prompt = *r.input(life.input);
    const auto& writes = r.layers[static_cast<size_t>(*life.born_layer)].inputs.find(life.input)->writes;
    if (!writes || writes->largest.neurons.empty() || writes->largest.resid_out == 0) continue;
    const results::Write& write = writes->largest;
    const results::Neuron& neuron = write.neurons[0];
    Sample sample{neuron.product / write.resid_out, {}};
    sample.place.layer = life.born_layer;
    sample.place.module = "down";
    sample.place.input = life.input;
    sample.place.channel = write.channel;
    sample.place.neuron = neuron.neuron;
    sample.place.expert = neuron.expert;
    sample.place.token_text = prompt.tokens[static_cast<size_t>(write.token)];
    sample.words["whole"] = number(write.resid_out);
    sample.words["product"] = number(neuron.product);
    sample.words["weight"] = number(neuron.weight);
    sample.words["down_in"] = number(neuron.down_in);
    samples.push_back(std::move(sample));
  }
  return samples;
}

Samples top_weights(const Results& r) {
  Samples samples;
  if (!r.summary.alignment.outlier_layers) return samples;
  for (const results::OutlierLayer& layer : r.summary.alignment.outlier_layers->layers) {
    const auto &weight = layer.top_weight, &product = layer.top_product;
    if (layer.aligned || !weight.product || !(product.product.value_or(0) > 0)) continue;
    Sample sample{*weight.product / *product.product, {}};
    sample.place.layer = layer.layer;
    sample.place.module = "down";
    sample.place.input = layer.input;
    sample.place.channel = product.row;
    sample.place.neuron = product.neuron;
    sample.place.expert = product.expert;
    sample.words["column"] = fmt::format("{}{}", report::of_expert(weight.expert), weight.neuron);
    sample.words["ratio"] = number(weight.ratio);
    sample.words["writes"] = number(*weight.product);
    sample.words["product"] = number(*product.product);
    samples.push_back(std::move(sample));
  }
  return samples;
}

Samples super_experts(const Results& r) {
  Samples all;
  each_part(r,
            [&](const results::Layer& layer, const results::Input& input, const results::LayerInput& part) {
              for (const results::ExpertInput& expert : part.experts) {
                Sample sample{expert.down_out_max, {}};
                sample.place.layer = layer.layer;
                sample.place.input = input.name;
                sample.place.expert = expert.expert;
                sample.words["max"] = number(expert.down_out_max);
                all.push_back(std::move(sample));
              }
            });
  if (all.empty()) return all;
  std::stable_sort(all.begin(), all.end(),
                   [](const Sample& a, const Sample& b) { return a.value > b.value; });
  const double largest = all[0].value, median = all[all.size() / 2].value;
  all.resize(static_cast<size_t>(std::ceil(0.005 * static_cast<double>(all.size()))));
  std::erase_if(all, [&](const Sample& sample) { return !(sample.value > 0.1 * largest); });
  for (Sample& sample : all) sample.value = median > 0 ? sample.value / median : results::kNone;
  return all;
}

Samples high_patches(const Results& r) {
  if (!r.summary.norms) return {};
  Sample sample{r.summary.norms->high_share, {}};
  sample.place.layer = r.summary.norms->layer;
  sample.words["max"] = number(r.summary.norms->patch_max);
  sample.words["median"] = number(r.summary.norms->patch_median);
  return {sample};
}

Samples of_value(const Results& r, const std::string& name, bool by_head) {
  Samples samples;
  each_part(r,
            [&](const results::Layer& layer, const results::Input& input, const results::LayerInput& part) {
              const std::vector<double>* values = part.values.find(name);
              for (size_t i = 0; values != nullptr && i < values->size(); ++i) {
                Sample sample{(*values)[i], {}};
                sample.place.layer = layer.layer;
                sample.place.input = input.name;
                if (by_head) sample.place.head = static_cast<int64_t>(i);
                samples.push_back(std::move(sample));
              }
            });
  return samples;
}

}  // namespace outliers::studies
