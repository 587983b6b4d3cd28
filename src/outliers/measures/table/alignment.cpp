// Whether weights, activations and attention point at the same places, over all corpora: the paper's Table 1.
#include <map>

#include <ATen/ATen.h>

#include "outliers/core/thresholds.h"
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

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

/// Of each column of a down projection its largest entry by abs, where that stands, and how far it exceeds
/// the column's mean: [F].
struct Columns {
  at::Tensor value, row, ratio;

  static Columns of(const at::Tensor& w) {
    const auto [high, high_row] = w.max(0);
    const auto [low, low_row] = w.min(0);
    const at::Tensor is_low = low.neg() > high;
    const at::Tensor value = on_host(at::where(is_low, low, high));
    return {value, at::where(is_low, low_row, high_row).cpu(),
            value.abs() / on_host(w.abs().mean(0, false, at::kFloat))};
  }
  void save(ByteWriter& out) const {
    for (const at::Tensor* part : {&value, &row, &ratio}) out.put(*part);
  }
  static Columns load(ByteReader& in) {
    Columns columns;
    for (at::Tensor* part : {&columns.value, &columns.row, &columns.ratio}) *part = in.get_tensor();
    return columns;
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

  /// Each rank sees the experts that its own sequences chose; the rest is rank 0's.
  Wants wants(int64_t layer) const override {
    return {.weights = context().is_root() || models::is_routed(config(), layer)};
  }
  void add_weight(int64_t, const run::LayerWeight& weight) override {
    if (weight.module != "down" || (!context().is_root() && weight.expert < 0)) return;
    downs_.emplace(weight.expert, weight.tensor);
  }

  void save(ByteWriter& out) const override {
    out.put(downs_.size());
    for (const auto& [expert, w] : downs_) {
      out.put(expert);
      Columns::of(w).save(out);
    }
  }
  void merge(ByteReader& in) override {
    for (auto count = in.get<size_t>(); count > 0; --count) {
      const auto expert = in.get<int64_t>();
      of_others_.emplace(expert, Columns::load(in));
    }
  }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    same_channel_.emplace_back();
    for (const Input& input : context().inputs) {
      if (input.is_prompt()) continue;
      const results::LayerInput& here = layer.inputs[input.name];
      const bool same = weights_point_at_activations(*layer.weights, *here.down_in);
      same_channel_.back().count(same);
      if (here.down_in->max > outlier_token_threshold(here.down_in->mean, context().criteria)) {
        results::OutlierLayer& found = outlier_layers_.emplace_back();
        found.layer = layer.layer;
        found.input = input.name;
        found.max_over_mean = here.down_in->max / here.down_in->mean;
        found.aligned = same;
        explain(found, *layer.weights, *here.down_in, arrays.last(input.name + ".down_in.channel_max"));
      }
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
    results::OutlierLayers of;
    Share aligned;
    for (const results::OutlierLayer& layer : outlier_layers_) {
      if (layer.layer >= results.told_layers()) continue;
      aligned.count(layer.aligned);
      of.layers.push_back(layer);
    }
    of.share = aligned.value();
    results.summary.alignment = {same.value(), keys_at_outlier_tokens_.value(), of};
  }
  void forget_layer() override {
    downs_.clear();
    of_others_.clear();
  }

  Memory memory(const Load&) const override {
    constexpr int64_t kFloat = sizeof(float), kColumn = 2 * kFloat + static_cast<int64_t>(sizeof(int64_t));
    const models::Experts& experts = config().experts;
    const int64_t columns = models::widest_mlp(config()) * 4 * kColumn;
    if (context().ranks == nullptr || experts.count == 0) return {.moment = columns};
    return {.held = kColumn * experts.count * experts.width,
            .moment = columns + experts.width * config().width * kFloat};
  }

 private:
  /// What weights, activations and both together point at.
  void explain(results::OutlierLayer& layer, const results::Weights& weights,
               const results::Activations& down_in, const at::Tensor& channel_max) const {
    const results::Weight& down = *weights.modules.find("down");
    if (!down.top_columns.empty())
      layer.top_weight = neuron(down.top_columns[0].column, down.expert, down_in, channel_max);
    layer.top_activation =
        neuron(down_in.top_channels[0].channel, down_in.top_channels[0].expert, down_in, channel_max);
    layer.top_product = layer.top_activation;
    if (const auto dense = downs_.find(run::kNoExpert); dense != downs_.end()) {
      const at::Tensor largest = on_host(at::maximum(dense->second.amax(0), dense->second.amin(0).neg()));
      // Where layers differ in width, channel_max has the widest's.
      const at::Tensor products = channel_max.narrow(0, 0, largest.size(0)) * largest;
      layer.top_product = neuron(products.argmax().item<int64_t>(), std::nullopt, down_in, channel_max);
      return;
    }
    for (const results::ChannelMax& channel : down_in.top_channels) {
      const results::AlignedNeuron one = neuron(channel.channel, channel.expert, down_in, channel_max);
      if (*one.product > *layer.top_product.product) layer.top_product = one;
    }
  }

  results::AlignedNeuron neuron(int64_t number, const std::optional<results::Expert>& expert,
                                const results::Activations& down_in, const at::Tensor& channel_max) const {
    results::AlignedNeuron neuron;
    neuron.neuron = number;
    neuron.expert = expert;
    const int64_t of = expert ? expert->number : run::kNoExpert;
    const auto own = downs_.find(of);
    const bool is_own = own != downs_.end();
    const Columns column = is_own ? Columns::of(own->second.narrow(1, number, 1)) : of_others_.at(of);
    const int64_t at = is_own ? 0 : number;
    neuron.ratio = column.ratio[at].item<double>();
    neuron.weight = column.value[at].item<double>();
    neuron.row = column.row[at].item<int64_t>();
    if (!expert) neuron.down_in = channel_max[number].item<double>();
    for (const results::ChannelMax& channel : down_in.top_channels) {
      if (channel.channel == number && channel.expert == expert) neuron.down_in = channel.max;
    }
    if (neuron.down_in) neuron.product = *neuron.down_in * std::abs(neuron.weight);
    return neuron;
  }

  std::map<int64_t, at::Tensor> downs_;                // down projections of this layer, [D,F], by expert
  std::map<int64_t, Columns> of_others_;               // of experts that other ranks saw, on rank 0
  std::vector<results::OutlierLayer> outlier_layers_;  // of the corpora
  std::vector<Share> same_channel_;                    // by layer, of the corpora
  results::Named<at::Tensor> outlier_tokens_;          // of the layer before, bool [N,T], by corpus
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
