// Channels of the residual stream that are large in nearly all tokens, and what the norm makes of them and of
// the token that spikes. A layer's numbers are of what it reads.
#include <algorithm>
#include <cmath>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"
#include "outliers/stats/profile.h"

namespace outliers::measures {
namespace {

using run::Point;

/// Mean cosine of two different rows of u, unit vectors [N,C].
double mean_cosine(const at::Tensor& u) {
  const auto N = static_cast<double>(u.size(0));
  const double all = u.sum(0).square().sum().item<double>();
  return (all - N) / (N * (N - 1));
}

class ResidualSinks : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {Point::resid_in, Point::attn_norm_out}}; }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override {
    if (site.point == Point::resid_in) {
      const stats::Profile p = stats::profile(x, {.above_rms = context().criteria.residual_sink_rms});
      add_to(unit_, p.channel_unit);
      add_to(large_, p.above_rms);
      spikes_ = p.max.argmax(1);
      tokens_ += x.size(0) * x.size(1);
      return;
    }
    const stats::Profile p = stats::profile(x, {});
    add_to(normed_, p.channel_square.sum(0));
    const at::Tensor sparsity = hoyer(p, static_cast<double>(x.size(2))), all = sparsity.sum(1);
    const at::Tensor of_spike = sparsity.gather(1, spikes_.unsqueeze(1)).squeeze(1);
    const auto others = static_cast<double>(std::max<int64_t>(1, x.size(1) - 1));
    sparsities_.push_back(at::stack({of_spike, x.size(1) > 1 ? (all - of_spike) / others : of_spike}));
    const at::Tensor at_spike = spikes_.to(x.device()).view({-1, 1, 1}).expand({-1, 1, x.size(2)});
    states_.push_back(at::stack({unit_rows(x.gather(1, at_spike).squeeze(1)), unit_rows(x.select(1, -1))}));
  }
  void save(ByteWriter& out) const override {
    for (const at::Tensor* sum : {&unit_, &large_, &normed_}) out.put(*sum);
    out.put(tokens_);
    out.put(at::cat(sparsities_, 1));
    out.put(at::cat(states_, 1));
  }
  void merge(ByteReader& in) override {
    for (at::Tensor* sum : {&unit_, &large_, &normed_}) add_to(*sum, in.get_tensor());
    tokens_ += in.get<int64_t>();
    sparsities_.push_back(in.get_tensor());
    states_.push_back(in.get_tensor());
  }

  void end_layer(results::Layer& layer, Arrays&) override {
    results::LayerInput& here = part(layer);
    const auto put = [&](const char* name, double value) { here.values[name] = {value}; };
    const auto tokens = static_cast<double>(tokens_);
    const at::Tensor share = large_.to(at::kDouble) / tokens, rms = (unit_ / tokens).sqrt(),
                     gain = (normed_ / unit_).sqrt();
    for (int64_t c = 0; c < share.numel(); ++c) {
      if (share[c].item<double>() < context().criteria.residual_sink_share) continue;
      results::ResidualSink sink{c, share[c].item<double>(), rms[c].item<double>(), {}};
      if (config().input_norms) sink.gain = gain[c].item<double>();
      here.residual_sinks.push_back(sink);
    }
    std::stable_sort(here.residual_sinks.begin(), here.residual_sinks.end(),
                     [](const auto& a, const auto& b) { return a.share > b.share; });
    const at::Tensor known = gain.masked_select(unit_ > 0);
    if (config().input_norms && known.numel() > 0) put("norm_gain_median", known.median().item<double>());
    const at::Tensor sparsity = at::cat(sparsities_, 1).to(at::kDouble).mean(1);
    put("normed_sparsity_spike", sparsity[0].item<double>());
    put("normed_sparsity_other", sparsity[1].item<double>());
    const at::Tensor states = at::cat(states_, 1).to(at::kDouble);  // [2,N,C]
    if (states.size(1) > 1) {
      put("normed_constancy_spike", mean_cosine(states[0]));
      put("normed_constancy_last", mean_cosine(states[1]));
    }
  }
  void forget_layer() override {
    for (at::Tensor* sum : {&unit_, &large_, &normed_, &spikes_}) *sum = at::Tensor();
    tokens_ = 0;
    sparsities_.clear();
    states_.clear();
  }
  Memory memory(const Load& load) const override {
    constexpr int64_t kFloat = sizeof(float);
    const int64_t D = config().width;
    return {.held = 4 * D * static_cast<int64_t>(sizeof(double)) + 4 * load.sequences * (2 * D + 2) * kFloat,
            .moment = 16 * load.chunk * kFloat};
  }

 private:
  static void add_to(at::Tensor& sum, const at::Tensor& x) { sum = sum.defined() ? sum + x : x; }
  static at::Tensor unit_rows(const at::Tensor& x) {
    const at::Tensor rows = on_host(x);
    return rows / at::linalg_vector_norm(rows, 2, at::IntArrayRef({1}), true).clamp_min(1e-30);
  }
  /// (sqrt C - ||x||_1 / ||x||_2) / (sqrt C - 1) of each token, [b,T].
  static at::Tensor hoyer(const stats::Profile& p, double C) {
    const double root = std::sqrt(C);
    const at::Tensor ratio = p.abs_mean / p.square.sqrt().clamp_min(1e-30);
    return (1 - ratio) * (root / std::max(root - 1, 1e-30));
  }

  at::Tensor unit_, large_, normed_;  // sums of channels, [C]
  at::Tensor spikes_;                 // of this slice, [b]: the token of the largest abs x
  int64_t tokens_ = 0;
  // Of this layer, in the order of sequences: of the spike, and of the others or the last.
  std::vector<at::Tensor> sparsities_;  // [2,b]
  std::vector<at::Tensor> states_;      // [2,b,C]
};

}  // namespace

MeasureInfo residual_sinks_measure() {
  constexpr const char *kSpike = "arXiv 2603.05498", *kConstant = "arXiv 2606.02288";
  return {
      .name = "residual_sinks",
      .description =
          "channels that are large in nearly all tokens, and what the norm makes of them and of the spike",
      .source = "arXiv 2601.22966, arXiv 2603.05498, arXiv 2606.02288",
      .values =
          {{"norm_gain_median", "[]", "gain of the norm, median of channels",
            "root mean square of the attention norm's output at a channel over that of its input, each "
            "token's "
            "input scaled to unit root mean square; median over channels that are not 0 everywhere. Of an "
            "RMSNorm it is abs its weight",
            "arXiv 2601.22966"},
           {"normed_sparsity_spike", "[]", "sparsity of the normed spike",
            "Hoyer's sparsity of the attention norm's output at the token of each sequence that has the "
            "largest abs x before it: 0 where all channels are equal, 1 where one has all; mean over "
            "sequences",
            kSpike},
           {"normed_sparsity_other", "[]", "sparsity of the other normed tokens",
            "the same of every other token; mean over tokens and sequences", kSpike},
           {"normed_constancy_spike", "[]", "constancy of the normed spike",
            "mean cosine of the attention norm's outputs at two sequences' tokens with the largest abs x",
            kConstant},
           {"normed_constancy_last", "[]", "constancy of the last token",
            "the same of the sequences' last tokens, for comparison", kConstant}},
      .make = make<ResidualSinks>};
}

}  // namespace outliers::measures
