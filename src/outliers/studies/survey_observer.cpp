#include "outliers/studies/survey_observer.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/run/memory_plan.h"
#include "outliers/stats/magnitudes.h"
#include "outliers/stats/partial.h"
#include "outliers/stats/weights.h"
#include "outliers/studies/to_json.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;
using run::Point;

/// All layers' maps together take at most this.
constexpr int64_t kMapBytes = int64_t{256} << 20;
/// Columns of a down projection that are kept for figures: the first three, the top three and their
/// neighbours, the last.
constexpr int64_t kColumns = 13, kFirstColumns = 3, kTopColumns = 3;
/// Neurons listed with a write.
constexpr int64_t kNeurons = 3;
/// An outlier token: max over channels of abs x > this x mean of abs x (2502.06415).
constexpr double kOutlierToken = 1000;

/// x with zeros behind its last dimension, `size` in all.
at::Tensor padded(const at::Tensor& x, int64_t size) {
  return x.size(-1) == size ? x : at::constant_pad_nd(x, {0, size - x.size(-1)});
}

/// Of x [...,n,F] the entries of largest abs along the last dimension but one -> [...,F].
at::Tensor largest_of(const at::Tensor& x) {
  return x.gather(-2, x.abs().argmax(-2, true)).squeeze(-2);
}

at::Tensor finite_abs(const at::Tensor& x) {
  return x.to(at::kFloat).abs().nan_to_num(0, 0, 0);
}

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

void SurveyObserver::Measured::add(const at::Tensor& x, int64_t first_sequence, Spill* spill) {
  accumulator.add(x, first_sequence);
  if (x.scalar_type() != at::kFloat) return;
  if (spill == nullptr) {
    shown.push_back({x, nullptr, 0, first_sequence});
  } else {
    shown.push_back({{}, spill, spill->add(x), first_sequence});
  }
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
    for (const Shown& tensor : shown) {
      for (const std::vector<int64_t>& counts : stats::key_counts(tensor.get(), bins)) counted.put(counts);
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

void SurveyObserver::Routed::merge(Ranks& ranks) {
  ByteWriter mine;
  mine.put(at::cat(index));
  for (const at::Tensor& largest : {down_in_max, down_out_max}) mine.put(on_host(largest));
  const std::vector<std::string> all = ranks.gather(mine.bytes());
  for (size_t r = 1; r < all.size(); ++r) {
    ByteReader theirs(all[r]);
    index.push_back(theirs.get_tensor());
    for (at::Tensor* largest : {&down_in_max, &down_out_max}) {
      *largest = at::maximum(on_host(*largest), theirs.get_tensor());
    }
  }
}

stats::ActivationSummary SurveyObserver::Measured::finish(int64_t layer) {
  if (accumulator.needs_refinement()) {
    for (const Shown& tensor : shown) accumulator.refine(tensor.get(), tensor.first_sequence);
  }
  shown.clear();
  stats::ActivationSummary summary = accumulator.finish();
  accumulator = stats::ActivationAccumulator();
  layers.push_back(to_json(layer, summary));
  channel_max.push_back(summary.channel_max);
  token_max.push_back(summary.token_max);
  return summary;
}

SurveyObserver::SurveyObserver(const models::Config& config, const TokenNames& names,
                               const std::vector<run::Input>& batches, Ranks* ranks)
    : config_(config), names_(names), batches_(batches), ranks_(ranks) {
  const int64_t P = batches[kPrompt].ids.size(1);
  if (models::reads_images(config)) norms_.assign(kBatches, TokenNorms(config));
  maps_ = config.layers * config.heads * P * P <= kMapBytes / static_cast<int64_t>(sizeof(float));
}

int64_t SurveyObserver::number_of(const run::Slice& slice) const {
  const bool split = ranks_ != nullptr && slice.input == kCorpus;
  return slice.first_sequence + (split ? ranks_->part(batches_[kCorpus].ids.size(0)).first : 0);
}

bool SurveyObserver::wants(const run::Site& site, size_t batch) const {
  if (site.layer < 0 || !measures(batch)) return false;
  switch (site.point) {
    case Point::resid_out:
    case Point::down_in:
    case Point::experts_index:
    case Point::experts_down_in:
    case Point::experts_down_out:
    case Point::shared_down_in:
      return true;
    case Point::experts_weight:
    case Point::shared_weight:
    case Point::resid_in:
    case Point::resid_mid:
      return batch == kPrompt;
    case Point::attn_probs:
      return batch == kPrompt && maps_;
    default:
      return false;
  }
}

at::Tensor SurveyObserver::Routed::counts(int64_t experts) const {
  return at::bincount(at::cat(index).flatten(), {}, experts);
}

void SurveyObserver::add_routed(const run::Site& site, const run::Slice& slice, const at::Tensor& x) {
  Routed& routed = routed_[slice.input];
  Measured& down_in = measured(slice.input, 1);
  const bool prompt = slice.input == kPrompt;
  const int64_t E = config_.experts.count;
  // values [b*T*k, ...], one of each route
  const auto add_largest = [&](at::Tensor& largest, const at::Tensor& values) {
    const at::Tensor index = routed.index.back().flatten(), order = index.argsort().to(values.device());
    const at::Tensor counts = at::bincount(index, {}, E);
    if (!largest.defined()) {
      std::vector<int64_t> shape = values.sizes().vec();
      shape.front() = E;
      largest = at::zeros(shape, values.options());
    }
    int64_t begin = 0;
    for (int64_t e = 0; e < E; ++e) {
      const int64_t count = counts[e].item<int64_t>();
      if (count == 0) continue;
      largest[e].copy_(
          at::maximum(largest[e], values.index_select(0, order.narrow(0, begin, count)).amax(0)));
      begin += count;
    }
  };
  switch (site.point) {
    case Point::experts_index:
      routed.index.push_back(x.cpu());
      return;
    case Point::experts_weight:
      expert_weight_ = x;
      return;
    case Point::experts_down_in:
      add_largest(routed.down_in_max, finite_abs(x.flatten(0, 2)));
      if (prompt) expert_down_in_ = x;
      if (config_.experts.shared_width > 0) {
        routed.waiting = x;
      } else {
        down_in.add(x.flatten(2), number_of(slice), spill_);
      }
      return;
    case Point::experts_down_out:
      add_largest(routed.down_out_max, finite_abs(x.flatten(0, 2)).amax(1));
      return;
    case Point::shared_weight:
      shared_weight_ = x;
      return;
    case Point::shared_down_in:
      if (prompt) shared_down_in_ = x;
      down_in.add(at::cat({routed.waiting.flatten(2), x}, 2), number_of(slice), spill_);
      routed.waiting = at::Tensor();
      return;
    default:
      return;
  }
}

void SurveyObserver::on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) {
  if (ranks_ != nullptr) ranks_->check();
  add_routed(site, slice, x);
  if (slice.input == kPrompt) {
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
    if (site.point == kMeasured[p]) measured(slice.input, p).add(x, number_of(slice), spill_);
  }
  if (site.point == Point::resid_out && !norms_.empty()) norms_[slice.input].add(x);
}

void SurveyObserver::on_attention_sums(int64_t, const run::Slice& slice, const ops::AttentionSums& sums) {
  Attended& attended = attended_[slice.input];
  attended.accumulator.add(sums.key_sums, sums.sink_rates, number_of(slice));
  attended.parts.push_back(on_host(sums.key_sums.mean(1)));
}

void SurveyObserver::on_weight(int64_t, const run::LayerWeight& weight) {
  if (!is_root() && weight.expert < 0) return;
  const at::Tensor& w = weight.tensor;
  const stats::WeightSummary summary = stats::weight_summary(w);
  Weighed weighed{weight.expert, weight.module, to_json(summary), {}, {}};
  if (weight.module == "down") {
    const std::vector<int64_t> kept = columns_to_keep(summary.top_columns, w.size(1));
    const at::Tensor index = at::tensor(kept, at::kLong);
    const auto count = static_cast<int64_t>(kept.size());
    weighed.columns = at::zeros({kColumns, w.size(0)});
    weighed.columns.narrow(0, 0, count).copy_(w.index_select(1, index.to(w.device())).t());
    weighed.column_index = at::full({kColumns}, -1, at::kLong);
    weighed.column_index.narrow(0, 0, count).copy_(index);
    if (is_root()) downs_[weight.expert] = w;
  }
  if (is_root()) {
    take(std::move(weighed));
  } else {
    weighed_.push_back(std::move(weighed));
  }
}

void SurveyObserver::take(Weighed weighed) {
  if (weighed.module == "router") {
    router_ = std::move(weighed.listed);
    return;
  }
  if (weighed.expert != run::kNoExpert) {
    ordered_json brief = weighed.listed;
    for (const char* field : {"top_columns", "top_rows"}) brief.erase(field);
    experts_[weighed.expert][weighed.module] = std::move(brief);
    weighed.listed["expert"] = expert_name(weighed.expert);
    // Of the experts' matrices, the one that stands out most stands for all.
    if (modules_.contains(weighed.module) && !(weighed.listed["score"] > modules_[weighed.module]["score"])) {
      return;
    }
  }
  if (weighed.module == "down") {
    down_columns_ = weighed.columns;
    down_column_index_ = weighed.column_index;
  }
  modules_[weighed.module] = std::move(weighed.listed);
}

/// Takes in the experts that only other ranks read.
void SurveyObserver::merge_experts() {
  ByteWriter mine;
  for (const Weighed& weighed : weighed_) {
    mine.put(weighed.expert);
    mine.put(std::string_view(weighed.module));
    mine.put(std::string_view(weighed.listed.dump()));
    mine.put(weighed.columns);
    mine.put(weighed.column_index);
  }
  weighed_.clear();
  for (const std::string& bytes : ranks_->gather(mine.bytes())) {
    for (ByteReader in(bytes); !in.empty();) {
      Weighed weighed;
      weighed.expert = in.get<int64_t>();
      weighed.module = in.get_text();
      weighed.listed = ordered_json::parse(in.get_text());
      weighed.columns = in.get_tensor();
      weighed.column_index = in.get_tensor();
      const auto known = experts_.find(weighed.expert);
      if (known == experts_.end() || !known->second.contains(weighed.module)) take(std::move(weighed));
    }
  }
}

/// Measured side by side, places of down_in become a neuron and its expert; channels those of every expert.
void SurveyObserver::name_experts(size_t batch, const stats::ActivationSummary& summary,
                                  ordered_json& listed) {
  const Routed& routed = routed_[batch];
  const int64_t k = config_.experts.used, Fe = config_.experts.width;
  const at::Tensor index = at::cat(routed.index);  // [N,T,k]
  for (const char* list : {"top", "massive"}) {
    for (ordered_json& place : listed[list]) {
      const int64_t channel = place["channel"];
      const bool shared = channel >= k * Fe;
      place["channel"] = shared ? channel - k * Fe : channel % Fe;
      place["expert"] =
          shared ? expert_name(run::kSharedExpert)
                 : ordered_json(
                       index[place["sequence"].get<int64_t>()][place["token"].get<int64_t>()][channel / Fe]
                           .item<int64_t>());
    }
  }
  at::Tensor largest = on_host(routed.down_in_max).flatten();  // [E*Fe, Fs]
  const at::Tensor shared = summary.channel_max.slice(0, k * Fe);
  const int64_t of_experts = largest.numel();
  largest = at::cat({largest, shared});
  const auto [values, channels] =
      largest.topk(std::min(static_cast<int64_t>(listed["top_channels"].size()), largest.numel()));
  listed["top_channels"] = ordered_json::array();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const int64_t c = channels[i].item<int64_t>();
    const bool is_shared = c >= of_experts;
    listed["top_channels"].push_back({{"channel", is_shared ? c - of_experts : c % Fe},
                                      {"max", values[i].item<double>()},
                                      {"expert", expert_name(is_shared ? run::kSharedExpert : c / Fe)}});
  }
  const int64_t F = models::widest_mlp(config_);
  measured(batch, 1).channel_max.back() =
      at::maximum(padded(on_host(routed.down_in_max).amax(0), F), padded(shared, F));
}

/// The layer's experts that were read: what passed them, and their weights.
ordered_json SurveyObserver::expert_statistics() {
  std::array<at::Tensor, kBatches> counts, down_in_max, down_out_max;
  for (size_t b = 0; b < kBatches; ++b) {
    counts[b] = routed_[b].counts(config_.experts.count);
    down_in_max[b] = on_host(routed_[b].down_in_max).amax(1);
    down_out_max[b] = on_host(routed_[b].down_out_max);
  }
  ordered_json list = ordered_json::array();
  const auto add = [&](int64_t expert, ordered_json& modules) {
    ordered_json listed = {{"expert", expert_name(expert)}};
    for (size_t b = 0; b < kBatches && expert >= 0; ++b) {
      listed[batches_[b].name] = {{"tokens", counts[b][expert].item<int64_t>()},
                                  {"down_in_max", down_in_max[b][expert].item<double>()},
                                  {"down_out_max", down_out_max[b][expert].item<double>()}};
    }
    for (const auto& [module, weights] : modules.items()) listed[module] = weights;
    list.push_back(std::move(listed));
  };
  for (auto& [expert, modules] : experts_) {
    if (expert >= 0) add(expert, modules);
  }
  if (experts_.count(run::kSharedExpert) > 0) {
    add(run::kSharedExpert, experts_[run::kSharedExpert]);
  }
  return list;
}

std::vector<SurveyObserver::Source> SurveyObserver::sources(int64_t token) const {
  if (down_in_.defined()) return {{run::kNoExpert, 1.0, on_host(down_in_[0][token])}};
  std::vector<Source> list;
  for (int64_t place = 0; place < config_.experts.used; ++place) {
    list.push_back({routed_[kPrompt].index.front()[0][token][place].item<int64_t>(),
                    expert_weight_[0][token][place].item<double>(),
                    on_host(expert_down_in_[0][token][place])});
  }
  if (shared_down_in_.defined()) {
    list.push_back(
        {run::kSharedExpert, shared_weight_[0][token][0].item<double>(), on_host(shared_down_in_[0][token])});
  }
  return list;
}

ordered_json SurveyObserver::write_at(Place place) const {
  const auto value = [&](const at::Tensor& x) { return x[0][place.token][place.channel].item<double>(); };
  const std::vector<Source> all = sources(place.token);
  std::vector<at::Tensor> parts;
  for (const Source& source : all) {
    parts.push_back(source.down_in * on_host(downs_.at(source.expert)[place.channel]) * source.weight);
  }
  const at::Tensor products = at::cat(parts);
  const auto [sizes, places] = products.abs().topk(std::min(kNeurons, products.size(0)));
  ordered_json listed = ordered_json::array();
  for (int64_t i = 0; i < places.size(0); ++i) {
    int64_t n = places[i].item<int64_t>();
    const double product = products[n].item<double>();
    size_t from = 0;
    for (; n >= parts[from].size(0); ++from) n -= parts[from].size(0);
    const Source& source = all[from];
    listed.push_back({{"neuron", n},
                      {"down_in", source.down_in[n].item<double>()},
                      {"weight", downs_.at(source.expert)[place.channel][n].item<double>()},
                      {"product", product}});
    if (source.expert == run::kNoExpert) continue;
    listed.back()["expert"] = expert_name(source.expert);
    listed.back()["expert_weight"] = source.weight;
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
  if (outlier_tokens_.defined() && attention.nonfinite == 0) {
    const auto is_outlier = outlier_tokens_.accessor<bool, 2>();
    for (const stats::KeyScore& key : attention.outlier_keys) {
      ++outlier_keys_;
      if (is_outlier[key.sequence][key.key]) ++keys_at_outlier_tokens_;
    }
  }
  // What is left of a layer with NaN in it says nothing of its tokens.
  const bool whole = output.nan_count + output.inf_count == 0;
  outlier_tokens_ = whole ? output.token_max > kOutlierToken * output.mean : at::Tensor();
}

void SurveyObserver::keep_prompt() {
  const int64_t kept = std::min(kKeptTokens, resid_out_.size(1));
  prompt_resid_out_.push_back(on_host(resid_out_[0].narrow(0, 0, kept)).clone());
  // Of a token's experts, the neuron that is largest in any.
  const auto first = [&](const at::Tensor& x) { return on_host(x[0].narrow(0, 0, kept)); };
  const int64_t F = models::widest_mlp(config_);
  at::Tensor down_in = padded(down_in_.defined() ? first(down_in_) : largest_of(first(expert_down_in_)), F);
  if (shared_down_in_.defined()) {
    down_in = largest_of(at::stack({down_in, padded(first(shared_down_in_), F)}, 1));
  }
  prompt_down_in_.push_back(down_in.clone());
}

void SurveyObserver::on_layer_end(int64_t layer) {
  const bool routed = models::is_routed(config_, layer);
  if (ranks_ != nullptr) {
    for (size_t p = 0; p < kMeasured.size(); ++p) measured(kCorpus, p).merge(*ranks_);
    attended_[kCorpus].merge(*ranks_);
    if (!norms_.empty()) norms_[kCorpus].merge(*ranks_);
    if (routed) {
      routed_[kCorpus].merge(*ranks_);
      merge_experts();
    }
  }
  if (!is_root()) {
    attended_[kCorpus] = Attended();
    routed_ = {};
    for (TokenNorms& norms : norms_) norms.drop();
    if (spill_ != nullptr) spill_->clear();
    return;
  }
  weights_.push_back({{"layer", layer}, {"modules", std::move(modules_)}});
  modules_ = ordered_json::object();
  if (routed) {
    weights_.back()["router"] = std::move(router_);
    weights_.back()["experts"] = expert_statistics();
    experts_.clear();
  }
  columns_.push_back(down_columns_);
  column_index_.push_back(down_column_index_);

  std::array<stats::ActivationSummary, kBatches> output;
  for (size_t b = 0; b < kBatches; ++b) {
    for (size_t p = 0; p < kMeasured.size(); ++p) {
      stats::ActivationSummary summary = measured(b, p).finish(layer);
      ordered_json& listed = measured(b, p).layers.back();
      if (kMeasured[p] == Point::down_in) {
        if (routed) name_experts(b, summary, listed);
        at::Tensor& largest = measured(b, p).channel_max.back();
        largest = padded(largest, models::widest_mlp(config_));
      }
      name_tokens(listed["massive"], batches_[b].ids, names_);
      listed["massive_tokens"] = massive_tokens(summary, batches_[b].ids, names_);
      if (kMeasured[p] == Point::resid_out) output[b] = std::move(summary);
    }
    Attended& attended = attended_[b];
    const stats::AttentionSummary summary = attended.accumulator.finish();
    attended.layers.push_back(to_json(layer, summary, batches_[b].ids, names_));
    attended.key_scores.push_back(at::cat(attended.parts));
    attended.parts.clear();
    attended.accumulator = stats::AttentionAccumulator();
    if (b == kCorpus) count_alignment(summary, output[b]);
  }

  for (TokenNorms& norms : norms_) norms.finish(layer);
  Place place{0, 0};
  if (!output[kPrompt].top.empty()) place = {output[kPrompt].top[0].token, output[kPrompt].top[0].channel};
  ordered_json writes = {{"layer", layer}, {"largest", write_at(place)}};
  if (largest_) writes["followed"] = write_at(*largest_);
  writes_.push_back(std::move(writes));
  largest_ = place;
  keep_prompt();
  resid_in_ = resid_mid_ = resid_out_ = down_in_ = at::Tensor();
  expert_weight_ = expert_down_in_ = shared_weight_ = shared_down_in_ = at::Tensor();
  downs_.clear();
  routed_ = {};
  if (spill_ != nullptr) spill_->clear();
}

run::ObserverMemory SurveyObserver::memory(const std::vector<run::Input>& batches, at::ScalarType dtype,
                                           int64_t chunk_tokens) const {
  constexpr int64_t kFloat = sizeof(float);
  // By layer: results that list what stands out, and of each point a histogram, kept keys or their counts.
  constexpr int64_t kListed = int64_t{100} << 10, kHistograms = int64_t{10} << 20;
  const models::Config& c = config_;
  const auto e = static_cast<int64_t>(c10::elementSize(dtype));
  const int64_t L = c.layers, D = c.width, H = c.heads, F = models::widest_mlp(c), k = c.experts.used;
  const bool routed = c.experts.count > 0;
  const int64_t inputs = std::max(F, routed ? k * c.experts.width + c.experts.shared_width : 0);
  const int64_t P = batches[kPrompt].ids.size(1);

  int64_t arrays = L * kColumns * D * kFloat + L * std::min(P, kKeptTokens) * (D + F) * kFloat;
  if (maps_) arrays += L * (H + 1) * P * P * kFloat;
  int64_t held = L * kListed + P * (3 * D + inputs) * e, spillable = 0, on_disk = 0, largest_chunk = 0;
  for (const run::Input& batch : batches) {
    const int64_t T = batch.ids.size(1), tokens = batch.ids.numel();
    // Maxima by channel and by token at two points, keys' scores, norms.
    arrays += L * (D + F + (norms_.empty() ? 3 : 4) * tokens) * kFloat;
    if (!norms_.empty()) held += 4 * tokens * static_cast<int64_t>(sizeof(double));  // in order, for a median
    held += 2 * (H + 1) * tokens * kFloat;  // attention's sums, until the layer ends
    held += tokens * k * static_cast<int64_t>(sizeof(int64_t));
    for (const int64_t channels : {D, inputs}) {
      const int64_t keys =
          dtype == at::kFloat ? std::min(stats::Magnitudes::kKeptLimit, tokens * channels) : 0;
      held += kHistograms + keys * kFloat;
    }
    if (dtype == at::kFloat) {
      spillable += tokens * inputs * e;  // resid_out in memory is the hidden states
      on_disk += tokens * (D + inputs) * e;
    }
    largest_chunk =
        std::max(largest_chunk, std::min(batch.ids.size(0), run::chunk_sequences(chunk_tokens, T)) * T);
  }
  // While a tensor is looked at: a quarter of its keys, and of experts' tensors absolute values in order.
  held += largest_chunk * inputs * kFloat / 4;
  if (routed) {
    held += largest_chunk * (k * (std::max(c.experts.width, D) * 3 * kFloat) + inputs * e);
    held += 2 * c.experts.count * c.experts.width * kFloat;
  }
  return {.held = static_cast<uint64_t>(arrays + held),
          .spillable = static_cast<uint64_t>(spillable),
          .on_disk = static_cast<uint64_t>(on_disk),
          .at_end = static_cast<uint64_t>(arrays)};
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
  for (size_t b = 0; b < norms_.size(); ++b) {
    ordered_json layers = norms_[b].layers();
    for (ordered_json& layer : layers) {
      ordered_json largest = ordered_json::array({layer["patches"]["largest"]});
      name_tokens(largest, batches_[b].ids, names_);
      layer["patches"]["largest"] = largest[0];
    }
    results["norms"][batches_[b].name] = std::move(layers);
  }
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
    if (!norms_.empty()) add(batch + "resid_out.token_norm", norms_[b].norms());
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
