// How the residual stream's values are spread over channels and tokens: kurtosis in the flavours that papers
// report, how few channels hold how much, and how far the first token stands out.
#include <algorithm>
#include <cmath>

#include "outliers/core/thresholds.h"
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"
#include "outliers/stats/profile.h"

namespace outliers::measures {
namespace {

/// Gini coefficient of x >= 0, [n]: mean abs difference of two of them over twice the mean (0: all are
/// equal; near 1: one has all).
double gini(const at::Tensor& x) {
  const at::Tensor sorted = std::get<0>(x.sort());
  const int64_t n = x.numel();
  const double sum = sorted.sum().item<double>();
  if (sum <= 0) return 0;
  const at::Tensor rank = 2 * at::arange(1, n + 1, sorted.options()) - (n + 1);
  return (rank * sorted).sum().item<double>() / (static_cast<double>(n) * sum);
}

class Distribution : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {run::Point::resid_out}}; }
  void add(const run::Site&, const at::Tensor& x, int64_t) override {
    const stats::Profile p = stats::profile(x, {});
    const auto C = static_cast<double>(x.size(2));
    constexpr double kTiny = 1e-30;  // of a token of zeros
    const at::Tensor kurtosis = p.fourth / p.variance.square().clamp_min(kTiny),
                     norms = (p.square.to(at::kDouble) * C).sqrt(),
                     peak = p.max.square() / p.square.clamp_min(kTiny);
    tokens_.push_back(at::stack(
        {first(kurtosis), others(kurtosis), first(norms), others(norms), first(peak), others(peak)}));
    squares_.push_back(p.channel_square);
  }
  void save(ByteWriter& out) const override {
    out.put(at::cat(tokens_, 1));
    out.put(at::cat(squares_));
  }
  void merge(ByteReader& in) override {
    tokens_.push_back(in.get_tensor());
    squares_.push_back(in.get_tensor());
  }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    results::LayerInput& here = part(layer);
    const auto put = [&](const char* name, double value) { here.values[name] = {value}; };
    const at::Tensor tokens = at::cat(tokens_, 1).mean(1);  // [6]
    const auto of_tokens = [&](int64_t i) { return tokens[i].item<double>(); };
    if (here.resid_out) {
      put("kurtosis_excess", here.resid_out->kurtosis_pearson - 3);
      const at::Tensor& max = arrays.last(input().name + ".resid_out.token_max");
      const double above = outlier_token_threshold(here.resid_out->mean, context().criteria);
      put("outlier_tokens", max.gt(above).to(at::kDouble).mean().item<double>());
    }
    put("kurtosis_first_token", of_tokens(0));
    put("kurtosis_other_tokens", of_tokens(1));
    const at::Tensor energy = at::cat(squares_).sum(0);  // [C]
    const double mean = energy.mean().item<double>();
    put("kurtosis_channels", energy.square().mean().item<double>() / (mean * mean));
    put("channel_gini", gini(energy));
    const int64_t top = (energy.numel() + 99) / 100;
    put("channel_top_share",
        std::get<0>(energy.topk(top)).sum().item<double>() / energy.sum().item<double>());
    put("first_token_norm", of_tokens(2));
    put("other_token_norm", of_tokens(3));
    put("dominance_first_token", of_tokens(4));
    put("dominance_other_tokens", of_tokens(5));
  }
  void forget_layer() override {
    tokens_.clear();
    squares_.clear();
  }
  Memory memory(const Load& load) const override {
    constexpr int64_t kDouble = sizeof(double);
    return {.held = 2 * load.sequences * (config().width + 6) * kDouble, .moment = 16 * load.chunk * kDouble};
  }

 private:
  /// [b,T] -> [b], float64.
  static at::Tensor first(const at::Tensor& x) { return x.select(1, 0).to(at::kDouble); }
  static at::Tensor others(const at::Tensor& x) {
    return x.slice(1, x.size(1) > 1 ? 1 : 0).to(at::kDouble).mean(1);
  }

  // Of this layer, in the order of sequences.
  std::vector<at::Tensor> tokens_;   // kurtosis, norm, peak over mean square, of the first and others: [6,b]
  std::vector<at::Tensor> squares_;  // by channel, [b,C]
};

}  // namespace

MeasureInfo distribution_measure() {
  constexpr const char *kOrthoAdam = "arXiv 2410.17174", *kFeatures = "arXiv 2405.19279",
                       *kValleys = "arXiv 2510.06477", *kVariance = "arXiv 2605.06611";
  return {
      .name = "distribution",
      .description =
          "kurtosis in its flavours, concentration in few channels, and the first token's norm, at resid_out",
      .source = "arXiv 2506.19697, arXiv 2410.17174, arXiv 2405.19279, arXiv 2510.06477",
      .needs = {"activations"},
      .values =
          {{"outlier_tokens", "[]", "share of outlier tokens",
            "share of tokens whose largest abs x is above {outlier_token_ratio} x the mean of abs x",
            "arXiv 2502.06415, section 3.2"},
           {"kurtosis_excess", "[]", "excess kurtosis",
            "kurtosis_pearson of resid_out less 3, which a normal distribution has", "arXiv 2506.19697"},
           {"kurtosis_first_token", "[]", "kurtosis of the first token",
            "E(x-mu)^4 / (E(x-mu)^2)^2 over the channels of the first token; mean over sequences",
            kOrthoAdam},
           {"kurtosis_other_tokens", "[]", "kurtosis of the other tokens",
            "the same of every other token; mean over tokens and sequences", kOrthoAdam},
           {"kurtosis_channels", "[]", "kurtosis of channel norms",
            "E(e^2) / E(e)^2 over channels, e a channel's sum of squares over all tokens: 1 where all are "
            "equal, the width where one has all",
            kFeatures},
           {"channel_gini", "[]", "Gini coefficient of channels",
            "Gini coefficient of the channels' sums of squares over all tokens: 0 where all are equal, near "
            "1 where one has all"},
           {"channel_top_share", "[]", "share of the top hundredth of channels",
            "share of the sum of squares that is in the 1 % of channels with most, one at least"},
           {"first_token_norm", "[]", "norm of the first token",
            "L2 norm of the first token; mean over sequences", kValleys},
           {"other_token_norm", "[]", "norm of the other tokens",
            "L2 norm of every other token; mean over tokens and sequences", kValleys},
           {"dominance_first_token", "[]", "dominance in the first token",
            "largest x^2 over mean x^2 of the first token's channels, from 1 to the width; mean over "
            "sequences",
            kVariance},
           {"dominance_other_tokens", "[]", "dominance in the other tokens",
            "the same of every other token; mean over tokens and sequences", kVariance}},
      .make = make<Distribution>};
}

}  // namespace outliers::measures
