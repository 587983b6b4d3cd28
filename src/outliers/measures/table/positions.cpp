// How the variance of what attention mixes falls with the number of keys that a query sees: the first token
// reads one value as it is, later ones a mean of many (arXiv 2605.06611).
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

class Positions : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {run::Point::o_in}}; }
  void add(const run::Site&, const at::Tensor& x, int64_t) override {
    const at::Tensor norms = at::linalg_vector_norm(x, 2, at::IntArrayRef({3}), false, at::kFloat),
                     means = x.mean(at::IntArrayRef({3}), false, at::kFloat);
    const at::Tensor variance = norms.square() / static_cast<double>(x.size(3)) - means.square();
    parts_.push_back(on_host(variance.mean(1)));  // [b,T]
  }
  void save(ByteWriter& out) const override { out.put(at::cat(parts_)); }
  void merge(ByteReader& in) override { parts_.push_back(in.get_tensor()); }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    const at::Tensor variance = at::cat(parts_).mean(at::IntArrayRef({0}), false, at::kDouble);  // [T]
    const double first = variance[0].item<double>(), others = variance.slice(0, 1).mean().item<double>();
    results::Values& values = part(layer).values;
    values["mixed_variance_first"] = {first};
    if (variance.numel() > 1 && others > 0) values["mixed_variance_ratio"] = {first / others};
    arrays.add(input().name + ".o_in.variance", variance.to(at::kFloat));
  }
  void forget_layer() override { parts_.clear(); }
  Memory memory(const Load& load) const override {
    constexpr int64_t kFloat = sizeof(float);
    return {.held = 4 * load.all() * kFloat,
            .moment = 4 * load.chunk * config().heads * kFloat,
            .arrays = config().layers * load.tokens * kFloat};
  }

 private:
  std::vector<at::Tensor> parts_;  // of this layer, in the order of sequences: mean over heads, [b,T]
};

}  // namespace

MeasureInfo positions_measure() {
  constexpr const char* kSource = "arXiv 2605.06611";
  return {
      .name = "positions",
      .description = "variance of what attention mixes, by position",
      .source = kSource,
      .values =
          {{"mixed_variance_first", "[]", "variance of the first token's mixed values",
            "variance over a head's channels of what it gives to the output projection at the first token; "
            "mean over heads and sequences",
            kSource},
           {"mixed_variance_ratio", "[]", "variance of the first token over the others'",
            "the same over its mean over all other positions", kSource}},
      .make = make<Positions>};
}

}  // namespace outliers::measures
