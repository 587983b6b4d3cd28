#include "outliers/studies/survey_observer.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/stats/partial.h"
#include "outliers/stats/weights.h"
#include "outliers/studies/to_json.h"

namespace outliers::studies {
namespace {

using models::Point;
using nlohmann::ordered_json;

/// All layers' maps together take at most this.
constexpr int64_t kMapBytes = int64_t{256} << 20;
/// Columns of a down projection that are kept for figures: the first three, the top three and their
/// neighbours, the last.
constexpr int64_t kColumns = 13, kFirstColumns = 3, kTopColumns = 3;
/// Neurons listed with a write.
constexpr int64_t kNeurons = 3;
/// An outlier token: max over channels of abs x > this x mean of abs x (2502.06415).
constexpr double kOutlierToken = 1000;

at::Tensor on_host(const at::Tensor& x) {
  return x.to(at::kCPU, at::kFloat).contiguous();
}

std::vector<int64_t> columns_to_keep(const std::vector<stats::WeightLine>& top, int64_t columns) {
  std::set<int64_t> kept;
  for (int64_t c = 0; c < std::min(kFirstColumns, columns); ++c) kept.insert(c);
  for (size_t i = 0; i < std::min<size_t>(kTopColumns, top.size()); ++i) {
    for (int64_t c = top[i].index - 1; c <= top[i].index + 1; ++c) {
      if (c >= 0 && c < columns) kept.insert(c);
    }
  }
  kept.insert(columns - 1);
  return {kept.begin(), kept.end()};
}

}  // namespace

void SurveyObserver::Measured::add(const at::Tensor& x, int64_t first_sequence) {
  accumulator.add(x, first_sequence);
  if (x.scalar_type() == at::kFloat) shown.emplace_back(x, first_sequence);
}

void SurveyObserver::Measured::merge(Ranks& ranks) {
  ByteWriter mine;
  accumulator.save(mine);
  const std::vector<std::string> all = ranks.gather(mine.bytes());
  for (size_t r = 1; r < all.size(); ++r) {
    ByteReader theirs(all[r]);
    accumulator.merge(stats::ActivationAccumulator::load(theirs));
  }

  // A second look, where it takes one, is at everybody's tensors.
  ByteWriter wanted;
  if (ranks.is_root()) wanted.put(accumulator.refinement_bins());
  const std::string answer = ranks.broadcast(wanted.bytes());
  const auto bins = ByteReader(answer).get_vector<int64_t>();
  if (!bins.empty()) {
    ByteWriter counted;
    for (const auto& [x, first_sequence] : shown) {
      for (const std::vector<int64_t>& counts : stats::key_counts(x, bins)) counted.put(counts);
    }
    for (const std::string& bytes : ranks.gather(counted.bytes())) {
      for (ByteReader in(bytes); !in.empty();) {
        std::vector<std::vector<int64_t>> counts;
        for (size_t b = 0; b < bins.size(); ++b) counts.push_back(in.get_vector<int64_t>());
        accumulator.refine(counts);
      }
    }
  }
  shown.clear();
  if (!ranks.is_root()) accumulator = stats::ActivationAccumulator();
}

void SurveyObserver::Attended::merge(Ranks& ranks) {
  ByteWriter mine;
  mine.put(at::cat(parts));
  accumulator.save(mine);
  const std::vector<std::string> all = ranks.gather(mine.bytes());
  for (size_t r = 1; r < all.size(); ++r) {
    ByteReader theirs(all[r]);
    parts.push_back(theirs.get_tensor());
    accumulator.merge(stats::AttentionAccumulator::load(theirs));
  }
}

stats::ActivationSummary SurveyObserver::Measured::finish(int64_t layer) {
  if (accumulator.needs_refinement()) {
    for (const auto& [x, first_sequence] : shown) accumulator.refine(x, first_sequence);
  }
  shown.clear();
  stats::ActivationSummary summary = accumulator.finish();
  accumulator = stats::ActivationAccumulator();
  layers.push_back(to_json(layer, summary));
  channel_max.push_back(summary.channel_max);
  token_max.push_back(summary.token_max);
  return summary;
}

SurveyObserver::SurveyObserver(const models::Config& config, const text::Tokenizer& tokenizer,
                               const std::vector<models::Batch>& batches, Ranks* ranks)
    : config_(config), tokenizer_(tokenizer), batches_(batches), ranks_(ranks) {
  const int64_t P = batches[kPrompt].ids.size(1);
  maps_ = config.layers * config.heads * P * P <= kMapBytes / static_cast<int64_t>(sizeof(float));
}

int64_t SurveyObserver::number_of(const models::Slice& slice) const {
  const bool split = ranks_ != nullptr && slice.batch == kCorpus;
  return slice.first_sequence + (split ? ranks_->part(batches_[kCorpus].ids.size(0)).first : 0);
}

bool SurveyObserver::wants(const models::Site& site, size_t batch) const {
  if (site.layer < 0 || !measures(batch)) return false;
  switch (site.point) {
    case Point::resid_out:
    case Point::down_in:
      return true;
    case Point::resid_in:
    case Point::resid_mid:
      return batch == kPrompt;
    case Point::attn_probs:
      return batch == kPrompt && maps_;
    default:
      return false;
  }
}

void SurveyObserver::on_point(const models::Site& site, const models::Slice& slice, const at::Tensor& x) {
  if (slice.batch == kPrompt) {
    if (site.point == Point::resid_in) resid_in_ = x;
    if (site.point == Point::resid_mid) resid_mid_ = x;
    if (site.point == Point::resid_out) resid_out_ = x;
    if (site.point == Point::down_in) down_in_ = x;
    if (site.point == Point::attn_probs) {
      probs_.push_back(on_host(x[0]));
      probs_mean_.push_back(on_host(x[0].mean(0)));
    }
    if (site.point == Point::resid_in && site.layer == 0) {
      Measured embedding;
      embedding.add(x, 0);
      const stats::ActivationSummary summary = embedding.finish(0);
      embedding_ = {{"max", summary.max}, {"median", summary.median}};
    }
  }
  for (size_t p = 0; p < kMeasured.size(); ++p) {
    if (site.point == kMeasured[p]) measured(slice.batch, p).add(x, number_of(slice));
  }
}

void SurveyObserver::on_attention_sums(int64_t, const models::Slice& slice, const ops::AttentionSums& sums) {
  Attended& attended = attended_[slice.batch];
  attended.accumulator.add(sums.key_sums, sums.sink_rates, number_of(slice));
  attended.parts.push_back(on_host(sums.key_sums.mean(1)));
}

void SurveyObserver::on_weight(int64_t, const models::LayerWeight& weight) {
  const stats::WeightSummary summary = stats::weight_summary(weight.tensor);
  modules_[weight.module] = to_json(summary);
  if (weight.module != "down") return;

  down_ = weight.tensor;
  const std::vector<int64_t> kept = columns_to_keep(summary.top_columns, down_.size(1));
  const at::Tensor index = at::tensor(kept, at::kLong);
  const auto count = static_cast<int64_t>(kept.size());
  const at::Tensor columns = at::zeros({kColumns, down_.size(0)});
  columns.narrow(0, 0, count).copy_(down_.index_select(1, index.to(down_.device())).t());
  const at::Tensor numbers = at::full({kColumns}, -1, at::kLong);
  numbers.narrow(0, 0, count).copy_(index);
  columns_.push_back(columns);
  column_index_.push_back(numbers);
}

ordered_json SurveyObserver::write_at(Place place) const {
  const auto value = [&](const at::Tensor& x) { return x[0][place.token][place.channel].item<double>(); };
  const at::Tensor down_in = on_host(down_in_[0][place.token]), weight = on_host(down_[place.channel]);
  const at::Tensor products = down_in * weight;
  const auto [sizes, neurons] = products.abs().topk(std::min(kNeurons, products.size(0)));
  ordered_json listed = ordered_json::array();
  for (int64_t i = 0; i < neurons.size(0); ++i) {
    const int64_t n = neurons[i].item<int64_t>();
    listed.push_back({{"neuron", n},
                      {"down_in", down_in[n].item<double>()},
                      {"weight", weight[n].item<double>()},
                      {"product", products[n].item<double>()}});
  }
  return {{"token", place.token},
          {"channel", place.channel},
          {"resid_in", value(resid_in_)},
          {"attention", value(resid_mid_) - value(resid_in_)},
          {"mlp", value(resid_out_) - value(resid_mid_)},
          {"resid_out", value(resid_out_)},
          {"neurons", listed}};
}

void SurveyObserver::count_alignment(const stats::AttentionSummary& attention,
                                     const stats::ActivationSummary& output) {
  if (outlier_tokens_.defined()) {
    const auto is_outlier = outlier_tokens_.accessor<bool, 2>();
    for (const stats::KeyScore& key : attention.outlier_keys) {
      ++outlier_keys_;
      if (is_outlier[key.sequence][key.key]) ++keys_at_outlier_tokens_;
    }
  }
  outlier_tokens_ = output.token_max > kOutlierToken * output.mean;
}

void SurveyObserver::keep_prompt() {
  const int64_t kept = std::min(kKeptTokens, resid_out_.size(1));
  prompt_resid_out_.push_back(on_host(resid_out_[0].narrow(0, 0, kept)).clone());
  prompt_down_in_.push_back(on_host(down_in_[0].narrow(0, 0, kept)).clone());
}

void SurveyObserver::on_layer_end(int64_t layer) {
  if (ranks_ != nullptr) {
    for (size_t p = 0; p < kMeasured.size(); ++p) measured(kCorpus, p).merge(*ranks_);
    attended_[kCorpus].merge(*ranks_);
  }
  if (!is_root()) {
    attended_[kCorpus] = Attended();
    return;
  }
  weights_.push_back({{"layer", layer}, {"modules", std::move(modules_)}});
  modules_ = ordered_json::object();

  std::array<stats::ActivationSummary, kBatches> output;
  for (size_t b = 0; b < kBatches; ++b) {
    for (size_t p = 0; p < kMeasured.size(); ++p) {
      stats::ActivationSummary summary = measured(b, p).finish(layer);
      ordered_json& listed = measured(b, p).layers.back();
      name_tokens(listed["massive"], batches_[b].ids, tokenizer_);
      listed["massive_tokens"] = massive_tokens(summary, batches_[b].ids, tokenizer_);
      if (kMeasured[p] == Point::resid_out) output[b] = std::move(summary);
    }
    Attended& attended = attended_[b];
    const stats::AttentionSummary summary = attended.accumulator.finish();
    attended.layers.push_back(to_json(layer, summary, batches_[b].ids, tokenizer_));
    attended.key_scores.push_back(at::cat(attended.parts));
    attended.parts.clear();
    attended.accumulator = stats::AttentionAccumulator();
    if (b == kCorpus) count_alignment(summary, output[b]);
  }

  Place place{0, 0};
  if (!output[kPrompt].top.empty()) place = {output[kPrompt].top[0].token, output[kPrompt].top[0].channel};
  ordered_json writes = {{"layer", layer}, {"largest", write_at(place)}};
  if (largest_) writes["followed"] = write_at(*largest_);
  writes_.push_back(std::move(writes));
  largest_ = place;
  keep_prompt();
  resid_in_ = resid_mid_ = resid_out_ = down_in_ = down_ = at::Tensor();
}

ordered_json SurveyObserver::results() const {
  ordered_json results;
  results["embedding"] = embedding_;
  for (size_t b = 0; b < kBatches; ++b) {
    for (size_t p = 0; p < kMeasured.size(); ++p) {
      results["activations"][batches_[b].name][point_name(kMeasured[p])] =
          measured_[b * kMeasured.size() + p].layers;
    }
  }
  results["weights"] = weights_;
  results["attention"]["prompt"] = {
      {"probs_mean", maps_ ? ordered_json("prompt.attention.probs_mean") : ordered_json(nullptr)},
      {"layers", attended_[kPrompt].layers}};
  results["attention"]["corpus"] = attended_[kCorpus].layers;
  results["writes"] = writes_;
  return results;
}

std::vector<std::pair<std::string, at::Tensor>> SurveyObserver::arrays() const {
  std::vector<std::pair<std::string, at::Tensor>> arrays = {{"corpus.ids", batches_[kCorpus].ids}};
  const auto add = [&](const std::string& name, const std::vector<at::Tensor>& layers) {
    if (!layers.empty()) arrays.emplace_back(name, at::stack(layers));
  };
  for (const size_t b : {kCorpus, kPrompt}) {
    const std::string batch = batches_[b].name + ".";
    for (size_t p = 0; p < kMeasured.size(); ++p) {
      const Measured& m = measured_[b * kMeasured.size() + p];
      const std::string point = batch + point_name(kMeasured[p]);
      add(point + ".channel_max", m.channel_max);
      add(point + ".token_max", m.token_max);
    }
    add(batch + "attention.key_scores", attended_[b].key_scores);
  }
  add("prompt.resid_out", prompt_resid_out_);
  add("prompt.down_in", prompt_down_in_);
  add("prompt.attention.probs", probs_);
  add("prompt.attention.probs_mean", probs_mean_);
  add("weights.down.columns", columns_);
  add("weights.down.column_index", column_index_);
  return arrays;
}

std::optional<double> SurveyObserver::activation_attention() const {
  if (outlier_keys_ == 0) return std::nullopt;
  return static_cast<double>(keys_at_outlier_tokens_) / static_cast<double>(outlier_keys_);
}

}  // namespace outliers::studies
