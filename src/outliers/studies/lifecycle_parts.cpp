#include "outliers/studies/lifecycle_parts.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/thresholds.h"
#include "outliers/measures/tensors.h"
#include "outliers/models/rotary.h"
#include "outliers/ops/rotary.h"

namespace outliers::studies {
namespace {

using measures::MlpProducts;
using measures::on_host;
using run::Point;

/// Neurons that a layer's parts name, channels that a drive names, tokens that a neuron names.
constexpr int64_t kNeurons = 5, kChannels = 5, kTokens = 3;
/// Neurons of the layer of birth whose values are explained: those of at least this part of the largest.
constexpr double kDriven = 0.1;
/// Outlier tokens of a layer that are compared with each other.
constexpr size_t kCompared = 256;

constexpr Point kStream[] = {Point::resid_in,   Point::o_in,      Point::attn_out,
                             Point::attn_added, Point::resid_mid, Point::down_out,
                             Point::mlp_added,  Point::resid_out, Point::mlp_norm_out};
constexpr Point kAttention[] = {Point::query,       Point::key,        Point::value,
                                Point::attn_logits, Point::attn_probs, Point::attn_norm_out};
constexpr Point kProducts[] = {Point::gate_out,         Point::act_out,         Point::up_out,
                               Point::experts_gate_out, Point::experts_act_out, Point::experts_up_out,
                               Point::shared_gate_out,  Point::shared_act_out,  Point::shared_up_out};

/// Whether a prompt's two maps fit; a longer one has no spread.
bool has_maps(const models::Config& config, int64_t tokens) {
  return 2 * config.heads * tokens * tokens * 4 <= measures::kPromptBytes;
}

bool among(std::span<const Point> points, Point point) {
  return std::find(points.begin(), points.end(), point) != points.end();
}

/// Numbers of the rows of x [T,D] that are outlier tokens.
std::vector<int64_t> outlier_tokens(const at::Tensor& x, const Criteria& criteria) {
  const at::Tensor size = x.to(at::kDouble).abs();
  const double limit = outlier_token_threshold(size.mean().item<double>(), criteria);
  const at::Tensor rows = (size.amax(1) > limit).nonzero().view(-1).contiguous();
  return {rows.const_data_ptr<int64_t>(), rows.const_data_ptr<int64_t>() + rows.numel()};
}

/// The mean of x [H,...] where `where` (of its shape) is true -> [H]; NaN where it nowhere is.
std::vector<double> mean_where(const at::Tensor& x, const at::Tensor& where) {
  const at::Tensor sums = at::where(where, x, 0).flatten(1).sum(1);
  return measures::numbers(sums / where.flatten(1).sum(1));
}

const run::MlpPoints& points_of(const results::Neuron& neuron) {
  if (!neuron.expert) return run::kOwnMlp;
  return neuron.expert->is_shared() ? run::kSharedMlp : run::kExpertMlp;
}

}  // namespace

LifecycleParts::LifecycleParts(const models::Model& model, std::vector<LifeTargets> targets,
                               const Criteria& criteria)
    : model_(model),
      config_(model.config()),
      targets_(std::move(targets)),
      criteria_(criteria),
      found_(targets_.size()) {}

const LifeTargets* LifecycleParts::target(size_t input) const {
  for (const LifeTargets& one : targets_)
    if (one.input == input) return &one;
  return nullptr;
}

bool LifecycleParts::wants(const run::Site& site, size_t input) const {
  if (site.layer < 0) return false;
  const LifeTargets* const of = target(input);
  const bool map = site.point == Point::attn_logits || site.point == Point::attn_probs;
  if (of != nullptr && map && !has_maps(config_, of->tokens)) return false;
  if (of == nullptr) return site.point == Point::resid_in || site.point == Point::attn_norm_out;
  return among(kStream, site.point) || among(kAttention, site.point) || among(kProducts, site.point) ||
         MlpProducts::points().contains(site.point);
}

bool LifecycleParts::wants_weights(int64_t) const {
  return !targets_.empty();
}

void LifecycleParts::on_weight(int64_t, const run::LayerWeight& weight) {
  mlp_.add(weight);
  weights_[{weight.module, weight.expert}] = weight.tensor;
}

void LifecycleParts::on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) {
  if (site.point == Point::resid_in) shown_.clear();
  const LifeTargets* const of = target(slice.input);
  if (of == nullptr) {
    shown_[site.point] = x;
    if (site.point != Point::attn_norm_out) return;
    const at::Tensor in = on_host(shown_.at(Point::resid_in)), normed = on_host(x);
    for (int64_t b = 0; b < x.size(0); ++b)
      for (const int64_t t : outlier_tokens(in[b], criteria_))
        if (normed_.size() < kCompared) normed_.push_back(normed[b][t].clone());
    shown_.clear();
    return;
  }
  shown_[site.point] = on_host(x[0]);
  if (MlpProducts::points().contains(site.point)) mlp_.add(site, x);
  if (site.point != Point::resid_out) return;

  Found& found = found_[static_cast<size_t>(of - targets_.data())];
  if (site.layer == 0) found.embedding = shown_.at(Point::resid_in)[of->token][of->channel].item<double>();
  found.layers.push_back(parts_of({site.layer, of->token, of->channel}));
  if (auto spread = spread_of(site.layer)) found.spread.push_back(std::move(*spread));
  for (const int64_t t : outlier_tokens(shown_.at(Point::resid_in), criteria_))
    if (normed_.size() < kCompared) normed_.push_back(shown_.at(Point::attn_norm_out)[t].clone());
  const std::vector<results::Neuron>& writers = found.layers.back().neurons;
  const bool born = of->born == site.layer;
  for (size_t i = 0; born && i < writers.size(); ++i) {
    if (std::abs(writers[i].product) < kDriven * std::abs(writers.front().product)) break;
    found.neurons.push_back(driven(writers[i], of->token));
  }
  results::Neuron drawn = writers.front();
  drawn.neuron = of->neuron.value_or(drawn.neuron);
  if (born) keep_mlp(*of, "born", drawn);
  if (of->removed == site.layer) keep_mlp(*of, "removed", writers.front());
  if (of->spread == site.layer && shown_.contains(Point::attn_logits)) keep_head(*of);
  shown_.clear();
}

void LifecycleParts::on_layer_end(int64_t layer) {
  const auto n = static_cast<int64_t>(normed_.size());
  if (n >= 2) {
    const at::Tensor rows = at::stack(normed_).to(at::kDouble);
    const at::Tensor unit = rows / at::linalg_vector_norm(rows, 2, at::IntArrayRef({1}), true);
    const double all = unit.sum(0).square().sum().item<double>();
    constancy_.push_back({layer, n, (all - static_cast<double>(n)) / static_cast<double>(n * (n - 1))});
  }
  normed_.clear();
  weights_.clear();
  mlp_.forget();
}

double LifecycleParts::bias(const std::string& name, int64_t channel) const {
  return model_.has(name) ? model_.load(name, at::kDouble)[channel].item<double>() : 0;
}

double LifecycleParts::mlp_bias(int64_t layer, int64_t token, int64_t channel) const {
  const auto name = [&](const char* part) { return fmt::format("layer.{}.{}down.bias", layer, part); };
  if (!models::is_routed(config_, layer)) return bias(name(""), channel);
  double sum = 0;
  for (const measures::MlpSource& source : mlp_.sources(token)) {
    if (source.expert == run::kSharedExpert) {
      sum += source.weight * bias(name("shared."), channel);
    } else if (const std::string experts = name("experts."); model_.has(experts)) {
      sum += source.weight * model_.load_expert(experts, source.expert, at::kDouble)[channel].item<double>();
    }
  }
  return sum;
}

void LifecycleParts::add_attention(const Place& place, results::LayerContributions& parts) const {
  const int64_t H = config_.heads, d = config_.head_width;
  const auto value = [&](Point point) { return shown_.at(point)[place.token][place.channel].item<double>(); };
  const double factor = measures::changes_branches(config_)
                            ? measures::branch_factor(value(Point::attn_added), value(Point::attn_out))
                            : 1;
  const at::Tensor mixed = shown_.at(Point::o_in).select(1, place.token).to(at::kDouble);  // [H,d]
  const at::Tensor row =
      on_host(weights_.at({"o", run::kNoExpert})[place.channel]).to(at::kDouble).view({H, d});
  parts.heads = measures::numbers((mixed * row).sum(1) * factor);
  parts.attention_bias = factor * bias(fmt::format("layer.{}.o.bias", place.layer), place.channel);
}

results::LayerContributions LifecycleParts::parts_of(const Place& place) {
  results::LayerContributions parts;
  parts.layer = place.layer;
  add_attention(place, parts);
  const auto value = [&](Point point) { return shown_.at(point)[place.token][place.channel].item<double>(); };
  const double factor = measures::changes_branches(config_)
                            ? measures::branch_factor(value(Point::mlp_added), value(Point::down_out))
                            : 1;
  const MlpProducts::At products = mlp_.parts_at(place.token, place.channel, factor, kNeurons);
  parts.neurons = products.neurons;
  parts.other_neurons = products.sum - products.of_neurons;
  parts.mlp_bias = factor * mlp_bias(place.layer, place.token, place.channel);
  parts.resid_out = value(Point::resid_out);
  if (config_.residual_norms) {
    parts.norm = value(Point::resid_mid) - value(Point::resid_in) - value(Point::attn_added) +
                 parts.resid_out - value(Point::resid_mid) - value(Point::mlp_added);
  }
  return parts;
}

std::optional<results::LayerSpread> LifecycleParts::spread_of(int64_t layer) const {
  const std::vector<int64_t> tokens = outlier_tokens(shown_.at(Point::resid_in), criteria_);
  if (!shown_.contains(Point::attn_logits)) return std::nullopt;
  const at::Tensor logits = shown_.at(Point::attn_logits);
  const int64_t T = logits.size(1), groups = config_.heads / config_.kv_heads;
  if (tokens.empty() || static_cast<int64_t>(tokens.size()) == T) return std::nullopt;
  const at::Tensor probs = shown_.at(Point::attn_probs);
  at::Tensor q = shown_.at(Point::query).unsqueeze(0), k = shown_.at(Point::key).unsqueeze(0);
  if (const int r = config_.rotary_of_layer[static_cast<size_t>(layer)]; r >= 0) {
    const models::Rotary& rotary = config_.rotaries[static_cast<size_t>(r)];
    if (rotary.width > 0) {
      const auto table = ops::rotary_table(models::rotary_frequencies(rotary, T), T);
      q = ops::rotate(q, table);
      k = ops::rotate(k, table);
    }
  }
  const auto unit = [](const at::Tensor& x) {
    const at::Tensor wide = x[0].to(at::kDouble);
    return wide / at::linalg_vector_norm(wide, 2, at::IntArrayRef({2}), true).clamp_min(1e-300);
  };
  const at::Tensor cosine = unit(q).matmul(unit(k).repeat_interleave(groups, 0).transpose(1, 2));
  const at::Tensor seen = logits.isfinite();  // [H,T,T]
  at::Tensor outlier = at::zeros({T}, at::kBool);
  outlier.index_fill_(0, at::tensor(tokens), true);
  const at::Tensor of_outlier = seen & outlier, of_other = seen & ~outlier;
  const at::Tensor both = of_outlier.any(2) & of_other.any(2);  // [H,T]: queries that see both

  results::LayerSpread spread;
  spread.layer = layer;
  spread.tokens = tokens;
  spread.cosine_outlier = mean_where(cosine, of_outlier);
  spread.cosine_other = mean_where(cosine, of_other);
  const auto largest = [&](const at::Tensor& where) {
    return at::where(where, logits.to(at::kDouble), -INFINITY).amax(2);
  };
  spread.margin = mean_where((largest(of_outlier) - largest(of_other)).nan_to_num(0, 0, 0), both);
  const at::Tensor wide = probs.to(at::kDouble);
  spread.probability = mean_where(at::where(outlier, wide, 0).sum(2), both);

  const at::Tensor values = shown_.at(Point::value).to(at::kDouble).repeat_interleave(groups, 0);  // [H,T,d]
  const at::Tensor norms = at::linalg_vector_norm(values, 2, at::IntArrayRef({2}));
  const at::Tensor rows = outlier.expand_as(norms);
  const std::vector<double> at_outliers = mean_where(norms, rows), at_others = mean_where(norms, ~rows);
  for (size_t h = 0; h < at_outliers.size(); ++h) spread.value_ratio.push_back(at_outliers[h] / at_others[h]);
  const auto brought = [&](const at::Tensor& where) {
    return at::linalg_vector_norm(at::where(where, wide, 0).matmul(values), 2, at::IntArrayRef({2}));
  };
  const at::Tensor by_outliers = brought(outlier), by_others = brought(~outlier);
  spread.output_share = mean_where(by_outliers / (by_outliers + by_others).clamp_min(1e-300), both);
  return spread;
}

results::DrivenNeuron LifecycleParts::driven(const results::Neuron& neuron, int64_t token) const {
  results::DrivenNeuron driven;
  static_cast<results::Neuron&>(driven) = neuron;
  const run::MlpPoints& points = points_of(neuron);
  const int64_t n = neuron.neuron, expert = neuron.expert ? neuron.expert->number : run::kNoExpert;
  const auto value = [&](Point point) { return of_neurons(point, neuron)[token][n].item<double>(); };
  if (config_.gated_mlp) driven.gate_out = value(points.gate_out);
  driven.act_out = value(points.act_out);
  driven.up_out = value(points.up_out);

  const at::Tensor in = shown_.at(Point::mlp_norm_out)[token].to(at::kDouble);
  for (const char* module : results::kDriving) {
    const auto found = weights_.find({module, expert});
    if (found == weights_.end()) continue;
    results::Drive& drive = driven.drives.emplace_back();
    drive.module = module;
    drive.value = value(drive.module == "gate" ? points.gate_out : points.up_out);
    const at::Tensor row = on_host(found->second[n]).to(at::kDouble), products = in * row;
    const auto [sizes, channels] = products.abs().topk(std::min(kChannels, products.size(0)));
    double named = 0;
    for (int64_t i = 0; i < channels.size(0); ++i) {
      const int64_t c = channels[i].item<int64_t>();
      drive.channels.push_back({c, in[c].item<double>(), row[c].item<double>(), products[c].item<double>()});
      named += drive.channels.back().product;
    }
    drive.other_channels = products.sum().item<double>() - named;
    drive.bias = drive.value - products.sum().item<double>();
  }
  const at::Tensor all = of_neurons(points.down_in, neuron).select(1, n);
  const auto [sizes, tokens] = all.abs().topk(std::min(kTokens, all.size(0)));
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    const int64_t t = tokens[i].item<int64_t>();
    driven.tokens.push_back({t, all[t].item<double>()});
  }
  return driven;
}

/// A point of the MLP that has the neuron, [T,F]; of an expert's, zeros where a token does not pass it.
at::Tensor LifecycleParts::of_neurons(Point point, const results::Neuron& neuron) const {
  const at::Tensor x = shown_.at(point);
  if (!neuron.expert || neuron.expert->is_shared()) return x;
  const at::Tensor passes = shown_.at(Point::experts_index).eq(neuron.expert->number);  // [T,k]
  return at::where(passes.unsqueeze(2), x, 0).sum(1);
}

void LifecycleParts::keep_mlp(const LifeTargets& target, const char* part, const results::Neuron& neuron) {
  const run::MlpPoints& points = points_of(neuron);
  const int64_t F = models::widest_mlp(config_),
                rows = std::min(results::kLifeTokens, shown_.at(Point::resid_in).size(0));
  const auto add = [&](const char* name, at::Tensor x) {
    arrays_.emplace_back(fmt::format("{}.life.{}.{}", target.name, part, name), std::move(x));
  };
  const auto add_rows = [&](const char* name, const at::Tensor& x) {
    add(name, x.narrow(0, 0, rows).clone());
  };
  add_rows("resid_mid", shown_.at(Point::resid_mid));
  add_rows("mlp_norm_out", shown_.at(Point::mlp_norm_out));
  const auto add_neurons = [&](const char* name, Point point) {
    add_rows(name, measures::padded(of_neurons(point, neuron), F));
  };
  if (config_.gated_mlp) add_neurons("gate_out", points.gate_out);
  add_neurons("act_out", points.act_out);
  add_neurons("up_out", points.up_out);
  add_neurons("down_in", points.down_in);
  add_rows("down_out", shown_.at(Point::down_out));
  add_rows("resid_out", shown_.at(Point::resid_out));

  // The first three neurons, this one with its neighbours, and the last.
  const int64_t expert = neuron.expert ? neuron.expert->number : run::kNoExpert;
  const at::Tensor down = weights_.at({"down", expert});
  const int64_t n = neuron.neuron, last = down.size(1) - 1;
  std::set<int64_t> lines = {0, 1, 2, n - 1, n, n + 1, last};
  std::erase_if(lines, [&](int64_t line) { return line < 0 || line > last; });
  at::Tensor numbers = at::full({results::kLifeLines}, -1, at::kLong);
  std::copy(lines.begin(), lines.end(), numbers.data_ptr<int64_t>());
  const at::Tensor chosen = numbers.narrow(0, 0, static_cast<int64_t>(lines.size()));
  const auto add_lines = [&](const char* name, const at::Tensor& lines_of) {
    const at::Tensor picked = on_host(lines_of.index_select(0, chosen.to(lines_of.device())));
    add(name, at::constant_pad_nd(picked, {0, 0, 0, results::kLifeLines - picked.size(0)}));
  };
  add("neurons", numbers);
  add_lines("down_columns", down.t());
  for (const char* module : results::kDriving) {
    const auto found = weights_.find({module, expert});
    if (found != weights_.end()) add_lines(fmt::format("{}_rows", module).c_str(), found->second);
  }
}

void LifecycleParts::keep_head(const LifeTargets& target) {
  const int64_t rows = std::min(results::kLifeTokens, shown_.at(Point::resid_in).size(0));
  const int64_t key_head = target.head / (config_.heads / config_.kv_heads);
  const auto add = [&](const char* name, const at::Tensor& x) {
    arrays_.emplace_back(fmt::format("{}.life.spread.{}", target.name, name), x.narrow(0, 0, rows).clone());
  };
  add("resid_in", shown_.at(Point::resid_in));
  add("attn_norm_out", shown_.at(Point::attn_norm_out));
  add("query", shown_.at(Point::query)[target.head]);
  add("key", shown_.at(Point::key)[key_head]);
  add("value", shown_.at(Point::value)[key_head]);
  add("attn_logits", shown_.at(Point::attn_logits)[target.head].narrow(1, 0, rows));
  add("attn_probs", shown_.at(Point::attn_probs)[target.head].narrow(1, 0, rows));
}

run::ObserverMemory LifecycleParts::memory(const std::vector<run::Input>& inputs, at::ScalarType,
                                           int64_t chunk_tokens) const {
  // float32 copies of a prompt's points, double ones of what is worked on, and what is kept.
  const int64_t D = config_.width, F = models::widest_mlp(config_), H = config_.heads,
                used = std::max<int64_t>(config_.experts.used, 1);
  int64_t largest = 2 * chunk_tokens * D * 4, kept = static_cast<int64_t>(kCompared) * D * 4;
  for (const LifeTargets& one : targets_) {
    const int64_t T = inputs[one.input].ids.size(1), rows = std::min(results::kLifeTokens, T);
    const int64_t maps = has_maps(config_, T) ? 5 * H * T * T * 8 : 0;
    largest = std::max(largest, T * (12 * D + 4 * F * used + 4 * H * config_.head_width) * 4 + maps);
    kept += 2 * rows * (4 * D + 4 * F) * 4 + 6 * results::kLifeLines * D * 4;
  }
  return {.held = static_cast<uint64_t>(largest + kept)};
}

}  // namespace outliers::studies
