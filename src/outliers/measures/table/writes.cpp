// Who made the prompt's largest value: attention, the MLP, and in it which neurons.
#include <map>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

using run::Point;

/// Neurons listed with a write.
constexpr int64_t kNeurons = 3;

class Writes : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override {
    PointSet points = {Point::resid_in,       Point::attn_added,      Point::mlp_added,
                       Point::resid_out,      Point::down_in,         Point::experts_index,
                       Point::experts_weight, Point::experts_down_in, Point::shared_weight,
                       Point::shared_down_in};
    if (config().residual_norms) points.add(Point::resid_mid);
    if (changes_down_out()) points.add(Point::down_out);
    return {.points = points, .weights = true};
  }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override { shown_[site.point] = x[0]; }
  void add_weight(int64_t, const run::LayerWeight& weight) override {
    if (weight.module == "down") downs_[weight.expert] = weight.tensor;
  }

  void end_layer(results::Layer& layer, Arrays&) override {
    results::LayerInput& here = part(layer);
    Place largest;
    if (!here.resid_out->top.empty())
      largest = {here.resid_out->top[0].token, here.resid_out->top[0].channel};
    results::Writes& writes = here.writes.emplace();
    writes.largest = write_at(largest);
    if (before_) writes.followed = write_at(*before_);
    before_ = largest;
  }
  void forget_layer() override {
    shown_.clear();
    downs_.clear();
  }

  Memory memory(const Load& load) const override {
    const models::Experts& experts = config().experts;
    const int64_t side_by_side = experts.used * experts.width + experts.shared_width;
    const int64_t inputs = std::max(models::widest_mlp(config()), side_by_side);
    return {.held = load.all() * (6 * config().width + inputs) *
                    static_cast<int64_t>(c10::elementSize(load.dtype))};
  }

 private:
  struct Place {
    int64_t token = 0, channel = 0;
  };
  /// What writes to the residual stream at a token: one MLP's input, and how much its output counts.
  struct Source {
    int64_t expert;
    double weight;
    at::Tensor down_in;  // [F]
  };

  /// Whether something stands between down_out and mlp_added.
  bool changes_down_out() const { return config().branch_norms || config().branch_scales; }
  bool has(Point point) const { return shown_.contains(point); }
  const at::Tensor& shown(Point point) const { return shown_.at(point); }

  std::vector<Source> sources(int64_t token) const {
    if (has(Point::down_in)) return {{run::kNoExpert, 1.0, on_host(shown(Point::down_in)[token])}};
    std::vector<Source> list;
    for (int64_t place = 0; place < config().experts.used; ++place) {
      const auto of_route = [&](Point point) { return shown(point)[token][place]; };
      list.push_back({of_route(Point::experts_index).item<int64_t>(),
                      of_route(Point::experts_weight).item<double>(),
                      on_host(of_route(Point::experts_down_in))});
    }
    if (has(Point::shared_down_in)) {
      list.push_back({run::kSharedExpert, shown(Point::shared_weight)[token][0].item<double>(),
                      on_host(shown(Point::shared_down_in)[token])});
    }
    return list;
  }

  results::Write write_at(Place place) const {
    const auto value = [&](Point point) { return shown(point)[place.token][place.channel].item<double>(); };
    results::Write write;
    write.token = place.token;
    write.channel = place.channel;
    write.resid_in = value(Point::resid_in);
    write.resid_out = value(Point::resid_out);
    write.attention = value(Point::attn_added);
    write.mlp = value(Point::mlp_added);
    if (config().residual_norms) {  // a norm of the residual counts to the part that it follows
      write.attention = value(Point::resid_mid) - write.resid_in;
      write.mlp = write.resid_out - value(Point::resid_mid);
    }
    // A post-norm (by its root mean square) and LayerScale multiply what a channel has from all neurons.
    double factor = 1;
    if (changes_down_out()) {
      const double down_out = value(Point::down_out);
      factor = down_out == 0 ? 0 : value(Point::mlp_added) / down_out;
    }
    write.neurons = neurons(place, factor);
    return write;
  }

  /// Those with the largest products; `factor`: what is added over the sum of all that neurons give.
  std::vector<results::Neuron> neurons(Place place, double factor) const {
    const std::vector<Source> all = sources(place.token);
    std::vector<at::Tensor> parts;
    for (const Source& source : all) {
      parts.push_back(source.down_in * on_host(downs_.at(source.expert)[place.channel]) *
                      (source.weight * factor));
    }
    const at::Tensor products = at::cat(parts);
    const auto [sizes, places] = products.abs().topk(std::min(kNeurons, products.size(0)));
    std::vector<results::Neuron> list;
    for (int64_t i = 0; i < places.size(0); ++i) {
      int64_t n = places[i].item<int64_t>();
      results::Neuron& neuron = list.emplace_back();
      neuron.product = products[n].item<double>();
      size_t from = 0;
      for (; n >= parts[from].size(0); ++from) n -= parts[from].size(0);
      const Source& source = all[from];
      neuron.neuron = n;
      neuron.down_in = source.down_in[n].item<double>();
      neuron.weight = downs_.at(source.expert)[place.channel][n].item<double>();
      if (source.expert == run::kNoExpert) continue;
      neuron.expert = results::Expert{source.expert};
      neuron.expert_weight = source.weight;
    }
    return list;
  }

  std::map<Point, at::Tensor> shown_;    // of this layer, less the batch: [P,D], [P,F], [P,k], [P,k,Fe]
  std::map<int64_t, at::Tensor> downs_;  // down projections, [D,F], by expert
  std::optional<Place> before_;          // the largest value's, of the layer before
};

}  // namespace

MeasureInfo writes_measure() {
  return {.name = "writes",
          .description = "what attention, the MLP and its neurons add at the place of the largest value",
          .of = Of::prompts,
          .needs = {"activations"},
          .make = make<Writes>};
}

}  // namespace outliers::measures
