// What passes each expert of a layer; super experts (2507.23279) are known by the largest of these values.
#include <algorithm>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

using run::Point;

/// Largest finite abs x along the last dimension, float32.
at::Tensor largest_abs(const at::Tensor& x) {
  const at::Tensor largest = x.abs().amax(-1).to(at::kFloat);
  return at::isfinite(largest).all().item<bool>() ? largest : finite_abs(x).amax(-1);
}

class Experts : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override {
    return {.points = {Point::experts_index, Point::experts_down_in, Point::experts_down_out}};
  }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override {
    if (site.point == Point::experts_index) {
      index_ = x.flatten().cpu();
      counts_ += at::bincount(index_, {}, config().experts.count);
      return;
    }
    const at::Tensor values = on_host(largest_abs(x)).flatten();
    const auto value = values.accessor<float, 1>();
    const auto index = index_.accessor<int64_t, 1>();
    auto largest = (site.point == Point::experts_down_in ? down_in_max_ : down_out_max_).accessor<float, 1>();
    for (int64_t i = 0; i < values.numel(); ++i) largest[index[i]] = std::max(largest[index[i]], value[i]);
  }
  void save(ByteWriter& out) const override {
    for (const at::Tensor& sum : {counts_, down_in_max_, down_out_max_}) out.put(sum);
  }
  void merge(ByteReader& in) override {
    counts_ += in.get_tensor();
    for (at::Tensor* largest : {&down_in_max_, &down_out_max_})
      *largest = at::maximum(*largest, in.get_tensor());
  }
  void end_layer(results::Layer& layer, Arrays&) override {
    for (int64_t e = 0; e < config().experts.count; ++e) {
      const int64_t count = counts_[e].item<int64_t>();
      if (count == 0) continue;
      part(layer).experts.push_back(
          {{e}, count, down_in_max_[e].item<double>(), down_out_max_[e].item<double>()});
    }
  }
  void forget_layer() override {
    for (at::Tensor* sum : {&counts_, &down_in_max_, &down_out_max_}) sum->zero_();
    index_ = at::Tensor();
  }
  Memory memory(const Load& load) const override {
    const models::Experts& experts = config().experts;
    return {.moment = load.chunk * experts.used * std::max(experts.width, config().width) * 3 *
                      static_cast<int64_t>(sizeof(float))};
  }

 private:
  at::Tensor index_;  // of this slice's tokens, [b*T*k], on the host
  // [E]: tokens that passed each, and the largest abs x that entered and left its down projection.
  at::Tensor counts_ = at::zeros({config().experts.count}, at::kLong),
             down_in_max_ = at::zeros({config().experts.count}),
             down_out_max_ = at::zeros({config().experts.count});
};

}  // namespace

MeasureInfo experts_measure() {
  return {.name = "experts",
          .description = "how many tokens pass each expert, and the largest values that they bring and take",
          .source = "arXiv 2507.23279",
          .applies = [](const models::Config& config) { return config.experts.count > 0; },
          .make = make<Experts>};
}

}  // namespace outliers::measures
