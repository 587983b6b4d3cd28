// Outlier features as LLM.int8() defines them: channels of what the projections read that are large in many
// layers and tokens, and that its mixed decomposition keeps in 16 bits.
#include <algorithm>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"
#include "outliers/stats/profile.h"

namespace outliers::measures {
namespace {

using run::Point;

class Int8Outliers : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {Point::attn_norm_out, Point::mlp_norm_out}}; }
  void add(const run::Site&, const at::Tensor& x, int64_t) override {
    const at::Tensor above = stats::profile(x, {.above = context().criteria.int8_magnitude}).above;
    above_ = above_.defined() ? above_ + above : above;
    tokens_ += x.size(0) * x.size(1);
  }
  void save(ByteWriter& out) const override {
    out.put(above_);
    out.put(tokens_);
  }
  void merge(ByteReader& in) override {
    above_ = above_ + in.get_tensor();
    tokens_ += in.get<int64_t>();
  }

  void end_layer(results::Layer& layer, Arrays&) override {
    part(layer).values["int8_outlier_channels"] = {above_.gt(0).sum().item<double>()};
    layers_.push_back({above_, tokens_});
  }
  void forget_layer() override {
    above_ = at::Tensor();
    tokens_ = 0;
  }
  void finish(results::Results& results) const override {
    const auto told = static_cast<size_t>(results.told_layers());
    at::Tensor layers = at::zeros({config().width}, at::kLong), tokens = layers;
    int64_t all = 0;
    for (size_t l = 0; l < std::min(told, layers_.size()); ++l) {
      layers = layers + layers_[l].above.gt(0);
      tokens = tokens + layers_[l].above;
      all += layers_[l].tokens;
    }
    if (all == 0) return;
    const Criteria& c = context().criteria;
    const at::Tensor of_layers = layers.to(at::kDouble) / static_cast<double>(told),
                     of_tokens = tokens.to(at::kDouble) / static_cast<double>(all);
    auto& list = results.inputs[input_number()].int8_outliers.emplace();
    for (int64_t channel = 0; channel < layers.numel(); ++channel) {
      const double share = of_layers[channel].item<double>(), places = of_tokens[channel].item<double>();
      if (share >= c.int8_layer_share && places >= c.int8_token_share)
        list.push_back({channel, share, places});
    }
    std::stable_sort(list.begin(), list.end(),
                     [](const auto& a, const auto& b) { return a.token_share > b.token_share; });
  }
  Memory memory(const Load&) const override {
    return {.held = (config().layers + 3) * config().width * static_cast<int64_t>(sizeof(int64_t))};
  }

 private:
  struct OfLayer {
    at::Tensor above;  // [C]: tokens of both points
    int64_t tokens;
  };
  at::Tensor above_;
  int64_t tokens_ = 0;
  std::vector<OfLayer> layers_;  // those that ended
};

}  // namespace

MeasureInfo int8_outliers_measure() {
  constexpr const char* kSource = "arXiv 2208.07339, section 3";
  return {.name = "int8_outliers",
          .description = "channels of the projections' inputs that LLM.int8() keeps in 16 bits",
          .source = kSource,
          .values = {{"int8_outlier_channels", "[]", "channels of at least 6",
                      "how many channels of attn_norm_out or mlp_norm_out have any abs x >= {int8_magnitude}",
                      kSource}},
          .make = make<Int8Outliers>};
}

}  // namespace outliers::measures
