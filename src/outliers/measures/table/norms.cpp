// L2 norms of the tokens of images: CLS, registers and patches apart. Darcet et al., "Vision Transformers
// Need Registers" (arXiv 2309.16588), find a few patches of high norm in models without registers, and the
// registers in their place in models that have them.
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

/// Of the finite ones. norms float32 [N,n].
results::NormExtent extent(const at::Tensor& norms) {
  const at::Tensor finite = norms.masked_select(at::isfinite(norms)).to(at::kDouble);
  if (finite.numel() == 0) return {};
  const at::Tensor sorted = std::get<0>(finite.sort());
  const int64_t n = sorted.numel();
  return {(sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2,
          sorted[n - 1].item<double>()};
}

class Norms : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {run::Point::resid_out}}; }
  void add(const run::Site&, const at::Tensor& x, int64_t) override {
    // In float32 a sum of squares of float16's largest values still fits.
    parts_.push_back(at::linalg_vector_norm(x, 2, at::IntArrayRef({2}), false, at::kFloat).cpu());
  }
  void save(ByteWriter& out) const override { out.put(at::cat(parts_)); }
  void merge(ByteReader& in) override { parts_.push_back(in.get_tensor()); }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    const at::Tensor norms = at::cat(parts_);  // [N,T]
    const int64_t R = config().vision.registers, first = 1 + R;
    const at::Tensor patches = norms.narrow(1, first, norms.size(1) - first);
    results::Norms& listed = part(layer).norms.emplace();
    listed.cls = extent(norms.narrow(1, 0, 1));
    if (R > 0) {
      const results::NormExtent all = extent(norms.narrow(1, 1, R));
      listed.registers = {all.median, all.max, {}};
      for (int64_t r = 0; r < R; ++r)
        listed.registers->each.push_back(extent(norms.narrow(1, 1 + r, 1)).median);
    }
    const results::NormExtent all = extent(patches);
    listed.patches.median = all.median;
    listed.patches.max = all.max;
    const at::Tensor sizes = patches.nan_to_num(-1, -1, -1);
    const int64_t place = sizes.argmax().item<int64_t>();
    results::PatchPlace& largest = listed.patches.largest;
    largest.sequence = place / patches.size(1);
    largest.token = first + place % patches.size(1);
    const TokenNames::Name name = context().names.name(input().ids, largest.sequence, largest.token);
    largest.token_text = name.text;
    largest.token_class = name.kind;
    listed.patches.high = sizes.gt(context().criteria.high_patch_norm).sum().item<int64_t>();
    listed.patches.count = patches.numel();
    arrays.add(input().name + ".resid_out.token_norm", norms);
  }
  void forget_layer() override { parts_.clear(); }

  Memory memory(const Load& load) const override {
    return {.held = 4 * load.all() * static_cast<int64_t>(sizeof(double)),  // in order, for a median
            .arrays = config().layers * load.all() * static_cast<int64_t>(sizeof(float))};
  }

 private:
  std::vector<at::Tensor> parts_;  // of this layer, [b,T], in the order of sequences
};

}  // namespace

MeasureInfo norms_measure() {
  return {.name = "norms",
          .description = "of images: norms of CLS, registers and patches in the residual stream",
          .source = "arXiv 2309.16588",
          .applies = models::reads_images,
          .make = make<Norms>};
}

}  // namespace outliers::measures
