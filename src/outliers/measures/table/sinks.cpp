// How much the heads look at the first key, and whether there is any key that they keep looking at.
#include <algorithm>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

class Sinks : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.attention_sums = true}; }
  void add_attention_sums(const ops::AttentionSums& sums, int64_t) override {
    const int64_t T = sums.key_sums.size(2), Q = std::min(T, sums.sink_queries);
    // Of the last keys few queries tell.
    const int64_t keys = config().causal ? (Q + 1) / 2 : sums.sink_means.size(2);
    parts_.push_back(
        on_host(at::stack({sums.key_sums.select(2, 0) / static_cast<double>(T), sums.first_is_top,
                           sums.sink_rates, sums.sink_means.slice(2, 0, keys).amax(2)})));
  }
  void save(ByteWriter& out) const override { out.put(at::cat(parts_, 1)); }
  void merge(ByteReader& in) override { parts_.push_back(in.get_tensor()); }

  void end_layer(results::Layer& layer, Arrays&) override {
    const at::Tensor all = at::cat(parts_, 1).to(at::kDouble);  // [4,N,H]
    results::Values& values = part(layer).values;
    values["first_key_mass"] = numbers(all[0].mean(0));
    values["first_key_top"] = numbers(all[1].mean(0));
    values["sink_alpha"] = numbers(all[2].mean(0));
    values["any_key_sink_rate"] = numbers(all[3].gt(context().criteria.sink_epsilon).to(at::kDouble).mean(0));
  }
  void forget_layer() override { parts_.clear(); }
  Memory memory(const Load& load) const override {
    constexpr int64_t kFloat = sizeof(float);
    return {.held = 16 * load.sequences * config().heads * kFloat};
  }

 private:
  std::vector<at::Tensor> parts_;  // mass, top, alpha_1, largest alpha: [4,b,H], in order
};

}  // namespace

MeasureInfo sinks_measure() {
  return {
      .name = "sinks",
      .description =
          "how much of its probability each head gives to the first key, and whether any key is a sink",
      .source = "arXiv 2410.10781, arXiv 2505.06708, arXiv 2410.17174",
      .values =
          {{"first_key_mass", "[H]", "mean probability of the first key",
            "the probability that the first key receives, mean over all queries and sequences",
            "arXiv 2505.06708"},
           {"first_key_top", "[H]", "share of queries that look at the first key most",
            "share of the queries, but the first, to which no other key has a higher probability than the "
            "first; mean over sequences",
            "arXiv 2410.17174"},
           {"sink_alpha", "[H]", "first key's mean probability over the first queries",
            "the probability that the first key receives, mean over the first {sink_queries} queries and "
            "over sequences: alpha_1, which sink_rate compares with {sink_epsilon}",
            "arXiv 2410.10781"},
           {"any_key_sink_rate", "[H]", "share of sequences with a sink at any key",
            "share of sequences where the mean probability of some key over those of the first "
            "{sink_queries} queries that see it is above {sink_epsilon}; in causal models of the keys "
            "among the first half of these queries",
            "arXiv 2410.10781"}},
      .make = make<Sinks>};
}

}  // namespace outliers::measures
