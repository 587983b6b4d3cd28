#include "outliers/studies/vocabulary.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/measures/tensors.h"
#include "outliers/run/observer.h"
#include "outliers/run/progress_observer.h"
#include "outliers/run/runner.h"

namespace outliers::studies {
namespace {

constexpr size_t kListed = 20;

/// Of every token its largest abs x so far, and where that is.
class SpikesOfTokens : public run::Observer {
 public:
  SpikesOfTokens(int64_t tokens, const Criteria& criteria)
      : criteria_(criteria),
        largest_(at::zeros({tokens}, at::kFloat)),
        layer_(at::zeros({tokens}, at::kLong)),
        channel_(at::zeros({tokens}, at::kLong)),
        spikes_(at::zeros({tokens}, at::kBool)) {}

  bool wants(const run::Site& site, size_t) const override { return site.point == run::Point::resid_out; }
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override {
    const at::Tensor sizes = measures::finite_abs(x.select(1, 0));  // [b,D]
    const auto [most, channel] = sizes.max(1);
    const at::Tensor median = std::get<0>(sizes.median(1));
    const at::Tensor max = most.cpu(),
                     spikes = max.gt(criteria_.massive_above)
                                  .logical_and(max.gt(median.cpu() * criteria_.found_ratio));
    const auto part = [&](at::Tensor& of) { return of.narrow(0, slice.first_sequence, max.size(0)); };
    here_ += spikes.sum().item<int64_t>();
    part(spikes_).logical_or_(spikes);
    const at::Tensor larger = max > part(largest_);
    part(layer_).masked_fill_(larger, site.layer);
    part(channel_).copy_(at::where(larger, channel.cpu(), part(channel_)));
    part(largest_).copy_(at::maximum(max, part(largest_)));
  }
  void on_layer_end(int64_t layer) override {
    by_layer_.push_back({layer, static_cast<double>(here_) / static_cast<double>(spikes_.numel())});
    here_ = 0;
  }
  run::ObserverMemory memory(const std::vector<run::Input>& inputs, at::ScalarType,
                             int64_t chunk_tokens) const override {
    const uint64_t tokens = static_cast<uint64_t>(inputs.front().ids.numel());
    return {.held = tokens * 32 + static_cast<uint64_t>(chunk_tokens) * 32};
  }

  results::VocabularySpikes finish(const measures::TokenNames& names) const {
    results::VocabularySpikes result;
    result.tokens = spikes_.numel();
    result.spiking = spikes_.sum().item<int64_t>();
    result.share = static_cast<double>(result.spiking) / static_cast<double>(result.tokens);
    result.layers = by_layer_;
    const at::Tensor channels = channel_.masked_select(spikes_);
    if (channels.numel() > 0) result.channel = at::bincount(channels).argmax().item<int64_t>();
    const at::Tensor order = largest_.argsort(true, 0, true);  // stable, the largest first
    // Those that do as few others do.
    const bool most_spike = 2 * result.spiking > result.tokens;
    for (int64_t i = 0; i < result.tokens && result.exceptions.size() < kListed; ++i) {
      const int64_t id = order[most_spike ? result.tokens - 1 - i : i].item<int64_t>();
      if (spikes_[id].item<bool>() == most_spike) continue;
      result.exceptions.push_back({id, names.text(id), layer_[id].item<int64_t>(),
                                   channel_[id].item<int64_t>(), largest_[id].item<double>()});
    }
    return result;
  }

 private:
  const Criteria criteria_;
  at::Tensor largest_, layer_, channel_, spikes_;  // [V]
  int64_t here_ = 0;                               // spikes of the layer
  std::vector<results::LayerSpikes> by_layer_;
};

}  // namespace

results::VocabularySpikes spikes_of_vocabulary(const models::Model& model, const measures::TokenNames& names,
                                               const run::RunOptions& options, const Criteria& criteria,
                                               run::RunTimes& times, bool quiet) {
  const int64_t V = model.config().vocabulary;
  run::Input input;
  input.name = "vocabulary";
  input.ids = at::arange(V, at::kLong).unsqueeze(1);
  run::RunOptions plain = options;
  plain.logits = false;
  plain.logit_blocks = nullptr;
  plain.ranks = nullptr;
  SpikesOfTokens spikes(V, criteria);
  run::ProgressObserver progress("vocabulary", model.config().layers, {input}, !quiet);
  times += run::forward(model, {input}, {&spikes, &progress}, plain);
  return spikes.finish(names);
}

}  // namespace outliers::studies
