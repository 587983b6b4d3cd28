#include "outliers/studies/super_weights.h"

#include <cmath>
#include <map>

#include <ATen/ATen.h>

#include "outliers/measures/tensors.h"
#include "outliers/run/observer.h"
#include "outliers/run/runner.h"

namespace outliers::studies {
namespace {

using run::Point;

/// The first layer whose down projection gives more than `spike`, where it gives most.
class SpikeObserver : public run::Observer {
 public:
  /// `known`: those that are zero by now, whose neurons' inputs are as large as before.
  SpikeObserver(const models::Config& config, double spike, const std::vector<SuperWeight>& known)
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
  void on_point(const run::Site& site, const run::Slice&, const at::Tensor& x) override {
    shown_[site.point] = x[0];  // [T,...]
    if (site.point == Point::down_out) look(site.layer, Point::down_in, x[0], run::kNoExpert);
    if (site.point == Point::experts_down_out) look(site.layer, Point::experts_down_in, x[0], 0);
    if (site.point == Point::shared_down_out)
      look(site.layer, Point::shared_down_in, x[0], run::kSharedExpert);
  }
  void on_layer_end(int64_t) override { shown_.clear(); }

  const std::optional<SuperWeight>& first() const { return first_; }

 private:
  /// out: [T,D], of experts [T,k,D].
  void look(int64_t layer, Point in, const at::Tensor& out, int64_t expert) {
    const at::Tensor sizes = measures::finite_abs(out);
    const double spike = sizes.max().item<double>();
    if (first_ && first_->layer < layer) return;
    if (!(spike > (first_ ? std::abs(first_->down_out) : spike_))) return;
    const int64_t flat = sizes.argmax().item<int64_t>(), D = out.size(-1);
    const at::Tensor rows = shown_.at(in).reshape({-1, shown_.at(in).size(-1)});
    const int64_t route = flat / D, row = flat % D;
    int64_t token = route;
    if (in == Point::experts_down_in) {
      expert = shown_.at(Point::experts_index).reshape({-1})[route].item<int64_t>();
      token = route / out.size(1);
    }
    at::Tensor inputs = measures::finite_abs(rows[route]);
    for (const SuperWeight& one : known_) {
      if (one.layer == layer && one.row == row && one.expert == expert) inputs[one.column] = 0;
    }
    const int64_t neuron = inputs.argmax().item<int64_t>();
    first_ = {layer,
              row,
              neuron,
              expert,
              token,
              rows[route][neuron].item<double>(),
              out.reshape({-1, D})[route][row].item<double>()};
  }

  const models::Config& config_;
  double spike_;
  const std::vector<SuperWeight>& known_;
  std::map<Point, at::Tensor> shown_;
  std::optional<SuperWeight> first_;
};

}  // namespace

std::vector<SuperWeight> find_super_weights(const models::Model& model, const at::Tensor& ids,
                                            const run::RunOptions& options, const Criteria& criteria,
                                            int64_t most) {
  std::vector<SuperWeight> found;
  run::Input input{"super weights", ids};
  run::RunOptions plain = options;
  plain.logits = false;
  plain.logit_blocks = nullptr;
  plain.ranks = nullptr;
  while (static_cast<int64_t>(found.size()) < most) {
    SpikeObserver spikes(model.config(), criteria.super_weight_spike, found);
    run::forward(model, {input}, {&spikes}, plain);
    if (!spikes.first()) break;
    input.edits.push_back(site_of(*spikes.first()));
    found.push_back(*spikes.first());
  }
  return found;
}

run::Edit site_of(const SuperWeight& weight) {
  run::Edit edit{run::WeightSite{weight.layer, "down"}};
  const auto choose = [&](run::Axis axis, int64_t number) {
    edit.selection.choices.push_back({axis, {{number, number}}});
  };
  if (weight.expert >= 0) choose(run::Axis::expert, weight.expert);
  if (weight.expert == run::kSharedExpert) {
    run::Choice shared{run::Axis::expert};
    shared.shared = true;
    edit.selection.choices.push_back(shared);
  }
  choose(run::Axis::row, weight.row);
  choose(run::Axis::column, weight.column);
  return edit;
}

}  // namespace outliers::studies
