// Sinks, heads and positions by the formulas of papers over transformers' float64 tensors.
#include "measures/oracle.h"
#include "measures/planted.h"

namespace outliers::measures {
namespace {

TEST(Sinks, AgreeWithTransformers) {
  tests::for_each_oracle_layer({"sinks"}, [](const tests::OracleLayer& o) {
    const at::Tensor probs = o.point("attn_probs");  // [N,H,T,T]
    const int64_t N = probs.size(0), H = probs.size(1), T = probs.size(2);
    at::Tensor top = at::zeros({H}, at::kDouble), any = at::zeros({H}, at::kDouble);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t h = 0; h < H; ++h) {
        const at::Tensor A = probs[n][h];
        for (int64_t i = 1; i < T; ++i) {
          if (A[i][0].item<double>() >= A[i].max().item<double>())
            top[h] += 1.0 / static_cast<double>(N * (T - 1));
        }
        // T is below 64, so that all queries count.
        double most = 0;
        for (int64_t k = 0; k < (o.config().causal ? (T + 1) / 2 : T); ++k) {
          int64_t first = o.config().causal ? k : 0, last = T;
          const int64_t window = o.config().windows[static_cast<size_t>(o.layer)];
          if (window > 0) last = std::min(T, k + window);
          most = std::max(most, A.slice(0, first, last).select(1, k).mean().item<double>());
        }
        if (most > 0.3) any[h] += 1.0 / static_cast<double>(N);
      }
    }
    const at::Tensor first = probs.select(3, 0).mean(at::IntArrayRef({0, 2}));
    o.expect("first_key_mass", first);
    o.expect("sink_alpha", first);
    o.expect("first_key_top", top);
    o.expect("any_key_sink_rate", any);
  });
}

TEST(Sinks, AreFoundAtTheKeyThatIsPlanted) {
  tests::Planted planted;
  const at::Tensor ids = at::stack({tests::Planted::sequence(5), tests::Planted::sequence(40)});
  const tests::Measured found = tests::measure(*planted.open(), {{"corpus", ids}}, {"sinks"});
  const results::Values& values = found.part(1, "corpus").values;
  const auto of = [&](const char* name) { return *values.find(name); };
  // Head 0 looks at the first key; head 1 at key 5, or at key 40, which half of the queries do not see.
  EXPECT_GT(of("first_key_mass")[0], 0.9);
  EXPECT_EQ(of("first_key_top")[0], 1);
  EXPECT_EQ(of("any_key_sink_rate")[0], 1);
  EXPECT_LT(of("first_key_mass")[1], 0.2);
  EXPECT_LT(of("sink_alpha")[1], 0.3);
  EXPECT_EQ(of("any_key_sink_rate")[1], 0.5);
}

TEST(Sinks, AreMeasuredOverAsManyQueriesAndAboveWhatIsAsked) {
  tests::Planted planted;
  const auto model = planted.open();
  const at::Tensor ids = tests::Planted::sequence(5).unsqueeze(0);
  const auto measure = [&](int64_t queries, double epsilon) {
    Criteria criteria;
    criteria.sink_queries = queries;
    criteria.sink_epsilon = epsilon;
    return tests::measure(*model, {{"corpus", ids}}, {"sinks"}, {}, criteria).part(1, "corpus").values;
  };
  // Of the first four queries none sees key 5: head 1 looks at all that it sees alike, 1 + 1/2 + 1/3 + 1/4.
  const double alpha = (1 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4) / 4;
  EXPECT_NEAR((*measure(4, 0.3).find("sink_alpha"))[1], alpha, 1e-3);
  EXPECT_EQ((*measure(4, alpha - 0.01).find("any_key_sink_rate"))[1], 1);
  EXPECT_EQ((*measure(4, alpha + 0.01).find("any_key_sink_rate"))[1], 0);
  EXPECT_EQ((*measure(64, 0.8).find("any_key_sink_rate"))[1], 1);
}

TEST(Heads, AgreeWithTransformers) {
  tests::for_each_oracle_layer({"heads"}, [](const tests::OracleLayer& o) {
    const at::Tensor probs = o.point("attn_probs");
    o.expect("attention_entropy",
             -(probs * probs.clamp_min(1e-300).log()).sum(3).mean(at::IntArrayRef({0, 2})));
    const at::Tensor logits = o.point("attn_logits");
    const at::Tensor seen = probs > 0;
    o.expect("logit_max", logits.masked_fill(seen.logical_not(), -1e300).amax({0, 2, 3}));
    const int64_t H = probs.size(1);
    const auto norm = [&](const char* point) {
      const at::Tensor norms = o.point(point).square().sum(3).sqrt().mean(at::IntArrayRef({0, 2}));
      return norms.repeat_interleave(H / norms.size(0));
    };
    o.expect("query_norm", norm("query"));
    o.expect("key_norm", norm("key"));
    o.expect("value_norm", norm("value"));
    const at::Tensor output = norm("o_in");
    o.expect("output_norm", output);
    o.expect("output_share", output / output.mean());
  });
}

TEST(Positions, AgreeWithTransformers) {
  tests::for_each_oracle_layer({"positions"}, [](const tests::OracleLayer& o) {
    const at::Tensor mixed = o.point("o_in");  // [N,H,T,d]
    const at::Tensor variance = mixed.var(at::IntArrayRef({3}), 0).mean(at::IntArrayRef({0, 1}));
    o.expect("mixed_variance_first", variance[0]);
    o.expect("mixed_variance_ratio", variance[0] / variance.slice(0, 1).mean(), 1e-3);
    const at::Tensor array = o.found.array("corpus.o_in.variance")[o.layer];
    EXPECT_TRUE(at::allclose(array.to(at::kDouble), variance, 1e-3, 1e-7)) << o.name;
  });
}

}  // namespace
}  // namespace outliers::measures
