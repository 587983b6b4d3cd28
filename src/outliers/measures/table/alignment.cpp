// Whether weights, activations and attention point at the same places, over all corpora: the paper's Table 1.
#include <ATen/ATen.h>

#include "outliers/core/thresholds.h"
#include "outliers/measures/measure.h"

namespace outliers::measures {
namespace {

/// So many of all.
struct Share {
  int64_t some = 0, all = 0;
  void count(bool is_one) {
    some += is_one;
    ++all;
  }
  std::optional<double> value() const {
    if (all == 0) return std::nullopt;
    return static_cast<double>(some) / static_cast<double>(all);
  }
};

/// The channel that stands out in the input of the down projection is that of its most outlying column.
bool weights_point_at_activations(const results::Weights& weights, const results::Activations& down_in) {
  const results::Weight& down = *weights.modules.find("down");
  if (down.top_columns.empty() || down_in.top_channels.empty()) return false;
  const results::ChannelMax& channel = down_in.top_channels[0];
  return down.top_columns[0].column == channel.channel && down.expert == channel.expert;
}

class Alignment : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {}; }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    same_channel_.emplace_back();
    for (const Input& input : context().inputs) {
      if (input.is_prompt()) continue;
      const results::LayerInput& here = layer.inputs[input.name];
      same_channel_.back().count(weights_point_at_activations(*layer.weights, *here.down_in));
      at::Tensor& outlier_tokens = outlier_tokens_[input.name];
      if (outlier_tokens.defined() && here.attention->nonfinite == 0) {
        const auto is_outlier = outlier_tokens.accessor<bool, 2>();
        for (const results::Key& key : here.attention->outlier_keys)
          keys_at_outlier_tokens_.count(is_outlier[key.sequence][key.key]);
      }
      // What is left of a layer with NaN in it says nothing of its tokens.
      outlier_tokens = here.resid_out->nonfinite == 0
                           ? arrays.last(input.name + ".resid_out.token_max") >
                                 outlier_token_threshold(here.resid_out->mean, context().criteria)
                           : at::Tensor();
    }
  }

  void finish(results::Results& results) const override {
    Share same;
    for (size_t layer = 0; layer < static_cast<size_t>(results.told_layers()); ++layer) {
      same.some += same_channel_[layer].some;
      same.all += same_channel_[layer].all;
    }
    results.summary.alignment = {same.value(), keys_at_outlier_tokens_.value()};
  }

 private:
  std::vector<Share> same_channel_;            // by layer, of the corpora
  results::Named<at::Tensor> outlier_tokens_;  // of the layer before, bool [N,T], by corpus
  Share keys_at_outlier_tokens_;
};

}  // namespace

MeasureInfo alignment_measure() {
  return {.name = "alignment",
          .description =
              "how often weights and activations, and activations and attention, point at the "
              "same channel or token",
          .source = "arXiv 2502.06415, Table 1",
          .of = Of::model,
          .needs = {"activations", "attention", "weights"},
          .make = make<Alignment>};
}

}  // namespace outliers::measures
