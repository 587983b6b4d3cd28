// Who made the prompt's largest value: attention, the MLP, and in it which neurons.
#include <map>

#include "outliers/measures/measure.h"
#include "outliers/measures/mlp_products.h"
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
    PointSet points = MlpProducts::points();
    for (const Point point : {Point::resid_in, Point::attn_added, Point::mlp_added, Point::resid_out})
      points.add(point);
    if (config().residual_norms) points.add(Point::resid_mid);
    if (changes_branches(config())) points.add(Point::down_out);
    return {.points = points, .weights = true};
  }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override {
    if (MlpProducts::points().contains(site.point)) {
      mlp_.add(site, x);
    } else {
      shown_[site.point] = x[0];
    }
  }
  void add_weight(int64_t, const run::LayerWeight& weight) override { mlp_.add(weight); }

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
    mlp_.forget();
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

  results::Write write_at(Place place) const {
    const auto value = [&](Point point) {
      return shown_.at(point)[place.token][place.channel].item<double>();
    };
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
    const double factor =
        changes_branches(config()) ? branch_factor(value(Point::mlp_added), value(Point::down_out)) : 1;
    write.neurons = mlp_.parts_at(place.token, place.channel, factor, kNeurons).neurons;
    return write;
  }

  MlpProducts mlp_;
  std::map<Point, at::Tensor> shown_;  // of this layer, [P,D]
  std::optional<Place> before_;        // the largest value's, of the layer before
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
