// What number formats lose of the projections' matrices.
#include <map>

#include "outliers/measures/measure.h"
#include "outliers/measures/rounding_errors.h"

namespace outliers::measures {
namespace {

class WeightRounding : public Measure {
 public:
  using Measure::Measure;

  /// Each rank sees the experts that its own sequences chose; the rest is rank 0's.
  Wants wants(int64_t layer) const override {
    return {.weights = layer >= 0 && (context().is_root() || models::is_routed(config(), layer))};
  }
  void add_weight(int64_t, const run::LayerWeight& weight) override {
    const bool is_expert = weight.expert >= 0;
    if (weight.module == "router" || (!context().is_root() && !is_expert)) return;
    const at::Tensor& w = weight.tensor;
    const auto [added, is_new] = modules_[weight.module].try_emplace(
        weight.expert, is_expert ? config().experts.count * w.size(0) : w.size(0), w.size(1));
    added->second.add(w);
  }
  void save(ByteWriter& out) const override {
    out.put(modules_.size());
    for (const auto& [module, experts] : modules_) {
      out.put(std::string_view(module));
      out.put(experts.size());
      for (const auto& [expert, errors] : experts) {
        out.put(expert);
        errors.save(out);
      }
    }
  }
  void merge(ByteReader& in) override {
    for (auto modules = in.get<size_t>(); modules > 0; --modules) {
      std::map<int64_t, RoundingErrors>& known = modules_[in.get_text()];
      for (auto count = in.get<size_t>(); count > 0; --count) {
        const auto expert = in.get<int64_t>();
        known.try_emplace(expert, RoundingErrors::load(in));  // another rank may have chosen it, too
      }
    }
  }
  void end_layer(results::Layer& layer, Arrays&) override {
    for (const auto& [module, experts] : modules_) {
      // Those that were read, together; the shared one among them.
      RoundingErrors all = experts.rbegin()->second;
      for (auto other = std::next(experts.rbegin()); other != experts.rend(); ++other)
        all.merge(other->second);
      layer.rounding[module] = all.finish();
    }
  }
  void forget_layer() override { modules_ = {}; }

  Memory memory(const Load&) const override {
    const models::Config& c = config();
    const int64_t D = c.width, F = models::widest_mlp(c), d = c.heads * c.head_width;
    const int64_t experts = std::max<int64_t>(c.experts.count, 1);
    return {.held = 4 * RoundingErrors::held_bytes(1, std::max(D, d), std::max(D, d)) +
                    3 * experts * RoundingErrors::held_bytes(1, experts * std::max(D, F), std::min(D, F)),
            .moment = RoundingErrors::moment_bytes(std::max({D, F, d}), std::max(D, std::min(F, d)))};
  }

 private:
  results::Named<std::map<int64_t, RoundingErrors>> modules_;  // by expert, kNoExpert and kSharedExpert
};

}  // namespace

MeasureInfo weight_rounding_measure() {
  return {.name = "weight_rounding",
          .description = "what number formats lose of the projections' matrices",
          .source = "arXiv 2602.02047",
          .of = Of::model,
          .on_request = "a third to a half of the time of a report by default",
          .make = make<WeightRounding>};
}

}  // namespace outliers::measures
