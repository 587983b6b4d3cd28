#include "outliers/measures/residual_state.h"

#include <cmath>

#include "outliers/measures/point_statistics.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

class ResidualState : public Measure {
 public:
  ResidualState(const Context& context, size_t input, int64_t first_layer)
      : Measure(context, input), first_layer_(first_layer) {
    reset();
  }

  Wants wants(int64_t layer) const override {
    if (layer < first_layer_) return {};
    return {.points = {run::Point::resid_out}, .attention_sums = true};
  }
  void add(const run::Site&, const at::Tensor& x, int64_t first_sequence) override {
    any_ = true;
    resid_out_.add(x, first_sequence, context().spill);
  }
  void add_attention_sums(const ops::AttentionSums& sums, int64_t) override {
    const at::Tensor rates = on_host(sums.sink_rates);  // [b,H]
    const auto rate = rates.accessor<float, 2>();
    for (int64_t b = 0; b < rates.size(0); ++b) {
      for (int64_t h = 0; h < rates.size(1); ++h) {
        if (!std::isfinite(rate[b][h])) continue;
        const auto head = static_cast<size_t>(h);
        ++told_[head];
        if (static_cast<double>(rate[b][h]) > context().criteria.sink_epsilon) ++sinks_[head];
      }
    }
  }

  void save(ByteWriter& out) const override {
    out.put(any_);
    if (!any_) return;
    resid_out_.save(out);
    out.put(sinks_);
    out.put(told_);
  }
  void merge(ByteReader& in) override {
    if (!in.get<bool>()) return;
    resid_out_.merge(in);
    const auto sinks = in.get_vector<int64_t>(), told = in.get_vector<int64_t>();
    for (size_t h = 0; h < sinks_.size(); ++h) {
      sinks_[h] += sinks.at(h);
      told_[h] += told.at(h);
    }
  }

  std::string question() override {
    if (!any_) return "";
    const std::vector<int64_t> asked = resid_out_.question();
    ByteWriter bins;
    bins.put(asked);
    return asked.empty() ? "" : bins.bytes();
  }
  std::string answer(const std::string& question) const override {
    ByteReader bins(question);
    ByteWriter counts;
    resid_out_.answer(bins, counts);
    return counts.bytes();
  }
  void hear(const std::string& answer) override {
    ByteReader counts(answer);
    resid_out_.hear(counts);
  }

  void end_layer(results::Layer& layer, Arrays&) override {
    if (!any_) return;
    const stats::ActivationSummary summary = resid_out_.finish();
    results::Activations& resid_out = part(layer).resid_out.emplace();
    resid_out.max = summary.max;
    resid_out.median = summary.median;
    results::Attention& attention = part(layer).attention.emplace();
    for (size_t h = 0; h < sinks_.size(); ++h) {
      const double rate = told_[h] == 0 ? 0 : static_cast<double>(sinks_[h]) / static_cast<double>(told_[h]);
      attention.heads.push_back({static_cast<int64_t>(h), 0, rate});
    }
  }
  void forget_layer() override { reset(); }

  Memory memory(const Load& load) const override {
    const int64_t values = load.all() * config().width;
    Memory memory{.held = PointStatistics::held_bytes(load.dtype, values),
                  .moment = load.chunk * config().width};  // a quarter of the keys
    if (load.dtype == at::kFloat)                          // in memory resid_out is the hidden states
      memory.on_disk = values * static_cast<int64_t>(c10::elementSize(load.dtype));
    return memory;
  }

 private:
  void reset() {
    any_ = false;
    resid_out_ = PointStatistics(context().criteria);
    sinks_.assign(static_cast<size_t>(config().heads), 0);
    told_ = sinks_;
  }

  int64_t first_layer_;
  bool any_ = false;
  PointStatistics resid_out_{context().criteria};
  std::vector<int64_t> sinks_, told_;  // [H]: sequences whose first key is one, and those that tell
};

}  // namespace

std::unique_ptr<Measure> residual_state(const Context& context, size_t input, int64_t first_layer) {
  return std::make_unique<ResidualState>(context, input, first_layer);
}

}  // namespace outliers::measures
