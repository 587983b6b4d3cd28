// How much probability each key receives, and the heads that look at sinks.
#include "outliers/stats/attention.h"

#include "outliers/measures/measure.h"

namespace outliers::measures {
namespace {

class Attention : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.attention_sums = true}; }
  void add_attention_sums(const ops::AttentionSums& sums, int64_t first_sequence) override {
    accumulator_.add(sums.key_sums, sums.sink_rates, first_sequence);
  }
  void save(ByteWriter& out) const override { accumulator_.save(out); }
  void merge(ByteReader& in) override { accumulator_.merge(stats::AttentionAccumulator::load(in)); }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    const stats::AttentionSummary summary = accumulator_.finish();
    results::Attention& attention = part(layer).attention.emplace();
    attention.top_keys = keys(summary.top_keys);
    attention.outlier_keys = keys(summary.outlier_keys);
    attention.median = summary.median;
    attention.top3_mean = summary.top3_mean;
    for (const stats::HeadSummary& head : summary.heads) {
      attention.heads.push_back(
          {static_cast<int64_t>(attention.heads.size()), head.outlier_share, head.sink_rate});
    }
    attention.nonfinite = summary.nonfinite;
    arrays.add(input().name + ".attention.key_scores", summary.key_scores);
  }
  void forget_layer() override { accumulator_ = empty(); }

  Memory memory(const Load& load) const override {
    constexpr int64_t kFloat = sizeof(float);
    return {.held = 2 * (config().heads + 1) * load.all() * kFloat,
            .arrays = config().layers * load.all() * kFloat};
  }

 private:
  stats::AttentionAccumulator empty() const {
    return stats::AttentionAccumulator({.criteria = context().criteria});
  }
  std::vector<results::Key> keys(const std::vector<stats::KeyScore>& scores) const {
    std::vector<results::Key> list;
    for (const stats::KeyScore& key : scores) {
      const TokenNames::Name name = context().names.name(input().ids, key.sequence, key.key);
      list.push_back({key.sequence, key.key, key.score, name.text, name.kind});
    }
    return list;
  }

  stats::AttentionAccumulator accumulator_ = empty();
};

}  // namespace

MeasureInfo attention_measure() {
  return {.name = "attention",
          .description = "outlier keys, and how much of each head's probability they and the first key take",
          .source = "arXiv 2502.06415, arXiv 2410.10781",
          .make = make<Attention>};
}

}  // namespace outliers::measures
