// The prompts' activations themselves, of the first tokens.
#include <algorithm>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

using run::Point;

/// Tokens of a prompt whose activations arrays.npz keeps.
constexpr int64_t kKeptTokens = 64;

/// Of x [...,n,F] the entries of largest abs along the last dimension but one -> [...,F].
at::Tensor largest_of(const at::Tensor& x) {
  return x.gather(-2, x.abs().argmax(-2, true)).squeeze(-2);
}

class PromptValues : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override {
    return {.points = {Point::resid_out, Point::down_in, Point::experts_down_in, Point::shared_down_in}};
  }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override {
    const at::Tensor first = on_host(x[0].narrow(0, 0, kept()));
    const int64_t F = models::widest_mlp(config());
    switch (site.point) {
      case Point::resid_out:
        // A copy, where it would share memory with what is shown.
        resid_out_ = first.clone();
        return;
      case Point::down_in:
        down_in_ = padded(first, F).clone();
        return;
      case Point::experts_down_in:
        down_in_ = padded(largest_of(first), F);
        return;
      case Point::shared_down_in:
        down_in_ = largest_of(at::stack({down_in_, padded(first, F)}, 1));
        return;
      default:
        return;
    }
  }
  void end_layer(results::Layer&, Arrays& arrays) override {
    arrays.add(input().name + ".resid_out", resid_out_);
    arrays.add(input().name + ".down_in", down_in_);
  }
  void forget_layer() override { resid_out_ = down_in_ = at::Tensor(); }
  void finish(results::Results& results) const override {
    results.inputs[input_number()].kept_tokens = kept();
  }
  Memory memory(const Load&) const override {
    return {.arrays = config().layers * kept() * (config().width + models::widest_mlp(config())) *
                      static_cast<int64_t>(sizeof(float))};
  }

 private:
  int64_t kept() const { return std::min(kKeptTokens, input().ids.size(1)); }

  at::Tensor resid_out_, down_in_;  // [K,D], [K,F]
};

}  // namespace

MeasureInfo prompt_values_measure() {
  return {.name = "prompt_values",
          .description = "the activations of the prompts' first tokens, channel by channel",
          .of = Of::prompts,
          .make = make<PromptValues>};
}

}  // namespace outliers::measures
