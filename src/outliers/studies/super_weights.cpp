#include "outliers/studies/super_weights.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/measures/tensors.h"
#include "outliers/run/observer.h"
#include "outliers/run/progress_observer.h"
#include "outliers/run/runner.h"

namespace outliers::studies {
namespace {

using run::Point;

std::optional<results::Expert> expert_of(int64_t expert) {
  if (expert == run::kNoExpert) return std::nullopt;
  return results::Expert{expert};
}

/// So many at most: a model whose every layer spikes has no few weights that make it.
constexpr size_t kMost = 16;

/// The first layer whose down projection gives more than `spike`, where it gives most, and the largest value
/// that any gives.
class SpikeObserver : public run::Observer {
 public:
  /// `known`: those that are zero by now, whose neurons' inputs are as large as before.
  SpikeObserver(const models::Config& config, double spike, const std::vector<results::SuperWeight>& known)
      : config_(config), spike_(spike), known_(known) {}

  bool wants(const run::Site& site, size_t) const override {
    switch (site.point) {
      case Point::down_in:
      case Point::experts_index:
      case Point::experts_down_in:
      case Point::experts_down_out:
      case Point::shared_down_in:
      case Point::shared_down_out:
        return true;
      case Point::down_out:  // of experts it is a sum
        return !models::is_routed(config_, site.layer);
      default:
        return false;
    }
  }
  bool wants_weights(int64_t) const override { return true; }
  void on_weight(int64_t, const run::LayerWeight& weight) override {
    if (weight.module == "down") weights_[weight.expert] = weight.tensor;
  }
  void on_point(const run::Site& site, const run::Slice&, const at::Tensor& x) override {
    shown_[site.point] = x[0];  // [T,...]
    if (site.point == Point::down_out) look(site.layer, Point::down_in, x[0], run::kNoExpert);
    if (site.point == Point::experts_down_out) look(site.layer, Point::experts_down_in, x[0], 0);
    if (site.point == Point::shared_down_out)
      look(site.layer, Point::shared_down_in, x[0], run::kSharedExpert);
  }
  void on_layer_end(int64_t layer) override {
    if (first_ && first_->layer == layer && std::isnan(first_->value)) {
      first_->value =
          weights_.at(first_->expert ? first_->expert->number : run::kNoExpert)[first_->row][first_->column]
              .item<double>();
    }
    shown_.clear();
    weights_.clear();
  }

  const std::optional<results::SuperWeight>& first() const { return first_; }
  const results::Spike& largest() const { return largest_; }

 private:
  /// out: [T,D], of experts [T,k,D].
  void look(int64_t layer, Point in, const at::Tensor& out, int64_t expert) {
    const at::Tensor sizes = measures::finite_abs(out);
    const int64_t flat = sizes.argmax().item<int64_t>(), D = out.size(-1);
    const int64_t route = flat / D, row = flat % D;
    const double value = out.reshape({-1, D})[route][row].item<double>();
    const double spike = std::isfinite(value) ? std::abs(value) : 0;  // else none is
    int64_t token = route;
    if (in == Point::experts_down_in) {
      expert = shown_.at(Point::experts_index).reshape({-1})[route].item<int64_t>();
      token = route / out.size(1);
    }
    if (spike > std::abs(largest_.down_out)) largest_ = {layer, expert_of(expert), token, row, value};
    if (first_ && first_->layer < layer) return;
    if (!(spike > (first_ ? std::abs(first_->down_out) : spike_))) return;
    const at::Tensor rows = shown_.at(in).reshape({-1, shown_.at(in).size(-1)});
    at::Tensor inputs = measures::finite_abs(rows[route]);
    for (const results::SuperWeight& one : known_) {
      if (one.layer == layer && one.row == row && one.expert == expert_of(expert)) inputs[one.column] = 0;
    }
    results::SuperWeight found{std::ssize(known_) + 1, layer, expert_of(expert), row};
    found.column = inputs.argmax().item<int64_t>();
    found.value = std::numeric_limits<double>::quiet_NaN();  // until the layer ends
    found.token = token;
    found.down_in = rows[route][found.column].item<double>();
    found.down_out = value;
    first_ = found;
  }

  const models::Config& config_;
  double spike_;
  const std::vector<results::SuperWeight>& known_;
  std::map<Point, at::Tensor> shown_;
  std::map<int64_t, at::Tensor> weights_;  // down projections by expert
  std::optional<results::SuperWeight> first_;
  results::Spike largest_;
};

}  // namespace

results::SuperWeights find_super_weights(const models::Model& model, const run::Input& input,
                                         const run::RunOptions& options, const Criteria& criteria,
                                         run::RunTimes& times, bool quiet) {
  results::SuperWeights result{input.name, {}, {}};
  run::Input edited = input;
  run::RunOptions plain = options;
  plain.logits = false;
  plain.logit_blocks = nullptr;
  plain.ranks = nullptr;
  while (true) {
    SpikeObserver spikes(model.config(), criteria.super_weight_spike, result.found);
    {
      run::ProgressObserver progress(fmt::format("super weights, run {}", result.found.size() + 1),
                                     model.config().layers, {edited}, !quiet);
      times += run::forward(model, {edited}, {&spikes, &progress}, plain);
    }
    result.left = spikes.largest();
    if (!spikes.first() || result.found.size() == kMost) return result;
    edited.edits.push_back(site_of(*spikes.first()));
    result.found.push_back(*spikes.first());
  }
}

run::Edit site_of(const results::SuperWeight& weight) {
  run::Edit edit{run::WeightSite{weight.layer, "down"}};
  const auto choose = [&](run::Axis axis, int64_t number) {
    edit.selection.choices.push_back({axis, {{number, number}}});
  };
  if (weight.expert && weight.expert->is_shared()) {
    run::Choice shared{run::Axis::expert};
    shared.shared = true;
    edit.selection.choices.push_back(shared);
  } else if (weight.expert) {
    choose(run::Axis::expert, weight.expert->number);
  }
  choose(run::Axis::row, weight.row);
  choose(run::Axis::column, weight.column);
  return edit;
}

}  // namespace outliers::studies
