// What each head works with: the entropy of its probabilities, its largest logit, the norms of queries, keys
// and values, and how much comes out of it.
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

using run::Point;

class Heads : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override {
    return {.points = {Point::query, Point::key, Point::value, Point::o_in}, .attention_sums = true};
  }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override {
    const at::Tensor norms =
        on_host(at::linalg_vector_norm(x, 2, at::IntArrayRef({3}), false, at::kFloat).mean(2));  // [b,Hk]
    norms_[of(site.point)].push_back(norms.repeat_interleave(config().heads / norms.size(1), 1));
  }
  void add_attention_sums(const ops::AttentionSums& sums, int64_t) override {
    sums_.push_back(on_host(at::stack({sums.entropy, sums.logit_max})));
  }
  void save(ByteWriter& out) const override {
    for (const auto& parts : norms_) out.put(at::cat(parts));
    out.put(at::cat(sums_, 1));
  }
  void merge(ByteReader& in) override {
    for (auto& parts : norms_) parts.push_back(in.get_tensor());
    sums_.push_back(in.get_tensor());
  }

  void end_layer(results::Layer& layer, Arrays&) override {
    results::Values& values = part(layer).values;
    const at::Tensor sums = at::cat(sums_, 1).to(at::kDouble);  // [2,N,H]
    values["attention_entropy"] = numbers(sums[0].mean(0));
    values["logit_max"] = numbers(sums[1].amax(0));
    const auto mean = [&](Point point) { return at::cat(norms_[of(point)]).to(at::kDouble).mean(0); };
    values["query_norm"] = numbers(mean(Point::query));
    values["key_norm"] = numbers(mean(Point::key));
    values["value_norm"] = numbers(mean(Point::value));
    const at::Tensor output = mean(Point::o_in);
    values["output_norm"] = numbers(output);
    values["output_share"] = numbers(output / output.mean());
  }
  void forget_layer() override {
    for (auto& parts : norms_) parts.clear();
    sums_.clear();
  }
  Memory memory(const Load& load) const override {
    constexpr int64_t kFloat = sizeof(float);
    const int64_t H = config().heads;
    return {.held = 2 * 6 * load.sequences * H * kFloat, .moment = load.chunk * H * kFloat};
  }

 private:
  static size_t of(Point point) {
    return point == Point::query ? 0 : point == Point::key ? 1 : point == Point::value ? 2 : 3;
  }

  // Of this layer, in the order of sequences.
  std::vector<at::Tensor> norms_[4];  // of query, key, value, o_in: mean over tokens, [b,H]
  std::vector<at::Tensor> sums_;      // entropy, largest logit: [2,b,H]
};

}  // namespace

MeasureInfo heads_measure() {
  constexpr const char* kInactive = "arXiv 2504.03889";
  return {.name = "heads",
          .description = "entropy, largest logit and norms of each head, and how much comes out of it",
          .source = "arXiv 2303.06296, arXiv 2507.20534, arXiv 2504.03889",
          .values =
              {{"attention_entropy", "[H]", "entropy of attention, nats",
                "-sum p log p of a query's probabilities, in nats; mean over queries and sequences. A learnt "
                "sink's own share is left out",
                "arXiv 2303.06296"},
               {"logit_max", "[H]", "largest attention logit",
                "the largest score that the softmax reads, of the keys that a query sees, over all sequences",
                "arXiv 2507.20534"},
               {"query_norm", "[H]", "norm of queries",
                "L2 norm of the head's queries after QK-norm; mean over tokens and sequences"},
               {"key_norm", "[H]", "norm of keys",
                "L2 norm of the keys that the head reads, after QK-norm; mean over tokens and sequences"},
               {"value_norm", "[H]", "norm of values",
                "L2 norm of the values that the head reads; mean over tokens and sequences"},
               {"output_norm", "[H]", "norm of the head's output",
                "L2 norm of what the head gives to the output projection; mean over tokens and sequences "
                "(average head output norm)",
                kInactive},
               {"output_share", "[H]", "norm of the head's output over its layer's mean",
                "output_norm over its mean over the layer's heads: of an inactive head near 0", kInactive}},
          .make = make<Heads>};
}

}  // namespace outliers::measures
