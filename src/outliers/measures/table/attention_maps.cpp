// The prompts' attention probabilities, whole.
#include <algorithm>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

class AttentionMaps : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return fits() ? Wants{.points = {run::Point::attn_probs}} : Wants{}; }
  void add(const run::Site&, const at::Tensor& x, int64_t) override {
    probs_ = on_host(x[0]);
    mean_ = on_host(x[0].mean(0));
  }
  void end_layer(results::Layer&, Arrays& arrays) override {
    if (!fits()) return;
    arrays.add(input().name + ".attention.probs", probs_);
    arrays.add(input().name + ".attention.probs_mean", mean_);
  }
  void forget_layer() override { probs_ = mean_ = at::Tensor(); }
  void finish(results::Results& results) const override {
    results.inputs[input_number()].attention_maps = fits();
  }
  Memory memory(const Load& load) const override {
    const int64_t maps = config().layers * (config().heads + 1) * load.tokens * load.tokens;
    return {.arrays = fits() ? maps * static_cast<int64_t>(sizeof(float)) : 0};
  }

 private:
  /// Whether the maps of all layers and prompts together do.
  bool fits() const {
    const int64_t prompts = std::count_if(context().inputs.begin(), context().inputs.end(),
                                          [](const Input& one) { return one.is_prompt(); });
    const int64_t P = input().ids.size(1), probs = config().layers * config().heads * P * P;
    return probs <= kPromptBytes / static_cast<int64_t>(sizeof(float)) / prompts;
  }

  at::Tensor probs_, mean_;  // [H,P,P], [P,P]
};

}  // namespace

MeasureInfo attention_maps_measure() {
  return {.name = "attention_maps",
          .description = "the prompts' attention probabilities, query by key",
          .of = Of::prompts,
          .make = make<AttentionMaps>};
}

}  // namespace outliers::measures
