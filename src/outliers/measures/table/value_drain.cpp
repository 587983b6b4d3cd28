// Value-state drain (arXiv 2410.13835): the key that a head looks at most has a value of small norm, so that
// looking there adds little.
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

class ValueDrain : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {run::Point::value}, .attention_sums = true}; }
  void add(const run::Site&, const at::Tensor& x, int64_t) override {
    norms_ = at::linalg_vector_norm(x, 2, at::IntArrayRef({3}), false, at::kFloat);  // [b,Hk,T]
  }
  void add_attention_sums(const ops::AttentionSums& sums, int64_t) override {
    const at::Tensor of_mean = norms_ / norms_.mean(2, true);
    const at::Tensor ratios = of_mean.repeat_interleave(config().heads / config().kv_heads, 1);  // [b,H,T]
    const at::Tensor top = ratios.gather(2, sums.key_sums.argmax(2, true)).squeeze(2);
    parts_.push_back(on_host(at::stack({top, ratios.select(2, 0), ratios.amin(2), ratios.amax(2)})));
  }
  void save(ByteWriter& out) const override { out.put(at::cat(parts_, 1)); }
  void merge(ByteReader& in) override { parts_.push_back(in.get_tensor()); }

  void end_layer(results::Layer& layer, Arrays&) override {
    const at::Tensor all = at::cat(parts_, 1).to(at::kDouble);  // [4,N,H]
    results::Values& values = part(layer).values;
    values["drain_top_key"] = numbers(all[0].mean(0));
    values["drain_first_token"] = numbers(all[1].mean(0));
    values["drain_smallest"] = numbers(all[2].amin(0));
    values["drain_largest"] = numbers(all[3].amax(0));
  }
  void forget_layer() override {
    norms_ = at::Tensor();
    parts_.clear();
  }
  Memory memory(const Load& load) const override {
    constexpr int64_t kFloat = sizeof(float);
    const int64_t H = config().heads;
    return {.held = 12 * load.sequences * H * kFloat, .moment = 3 * load.chunk * H * kFloat};
  }

 private:
  at::Tensor norms_;               // of this slice's values
  std::vector<at::Tensor> parts_;  // top key, first token, smallest, largest: [4,b,H], in order
};

}  // namespace

MeasureInfo value_drain_measure() {
  constexpr const char* kSource = "arXiv 2410.13835";
  return {.name = "value_drain",
          .description = "how small the values of the keys are that heads look at most",
          .source = kSource,
          .values = {{"drain_top_key", "[H]", "value norm of the top key over the mean",
                      "norm of the value of the key that receives most of the head's probability, over the "
                      "mean norm of its sequence; mean over sequences",
                      kSource},
                     {"drain_first_token", "[H]", "value norm of the first token over the mean",
                      "the same of the first token", kSource},
                     {"drain_smallest", "[H]", "smallest value norm over the mean",
                      "the smallest norm of any key's value over the mean norm of its sequence", kSource},
                     {"drain_largest", "[H]", "largest value norm over the mean",
                      "the largest norm of any key's value over the mean norm of its sequence", kSource}},
          .make = make<ValueDrain>};
}

}  // namespace outliers::measures
