// Distributions, residual sinks, LLM.int8()'s outliers, spectra and collinearity by the formulas of papers
// over transformers' float64 tensors.
#include <cmath>

#include "measures/oracle.h"
#include "measures/planted.h"

namespace outliers::measures {
namespace {

at::Tensor kurtosis(const at::Tensor& x) {
  const at::Tensor d = x - x.mean(-1, true);
  return d.pow(4).mean(-1) / d.square().mean(-1).square();
}

TEST(Distribution, AgreesWithTransformers) {
  double outliers = 0;
  Criteria criteria;
  criteria.outlier_token_ratio = 4;  // there are few channels
  const auto check = [&](const tests::OracleLayer& o) {
    const at::Tensor x = o.point("resid_out");  // [N,T,D]
    const at::Tensor above = (x.abs().amax(2) > 4 * x.abs().mean()).to(at::kDouble).mean();
    outliers += above.item<double>();
    o.expect("outlier_tokens", above);
    o.expect("kurtosis_excess", (kurtosis(x.flatten(1)) - 3).mean(), 2e-4, 1e-3);
    const at::Tensor of_tokens = kurtosis(x), norms = x.square().sum(2).sqrt(),
                     peak = x.square().amax(2) / x.square().mean(2);
    for (const auto& [name, numbers] :
         {std::pair("kurtosis_{}", of_tokens), std::pair("dominance_{}", peak)}) {
      o.expect(fmt::format(fmt::runtime(name), "first_token"), numbers.select(1, 0).mean());
      o.expect(fmt::format(fmt::runtime(name), "other_tokens"), numbers.slice(1, 1).mean());
    }
    o.expect("first_token_norm", norms.select(1, 0).mean());
    o.expect("other_token_norm", norms.slice(1, 1).mean());
    const at::Tensor energy = x.square().sum(at::IntArrayRef({0, 1}));
    const int64_t D = energy.numel();
    o.expect("kurtosis_channels", energy.square().mean() / energy.mean().square());
    // The mean abs difference of two channels over twice their mean.
    o.expect("channel_gini", (energy.unsqueeze(0) - energy.unsqueeze(1)).abs().mean() / (2 * energy.mean()));
    const at::Tensor sorted = std::get<0>(energy.sort(0, true));
    const auto top = static_cast<int64_t>(std::ceil(0.01 * static_cast<double>(D)));
    o.expect("channel_top_share", sorted.slice(0, 0, top).sum() / energy.sum());
  };
  tests::for_each_oracle_layer({"distribution"}, check, criteria);
  EXPECT_GT(outliers, 1);
}

/// In so few channels none can be 6 root mean squares of all.
Criteria criteria_of_tiny_models() {
  Criteria criteria;
  criteria.residual_sink_rms = 1.2;
  criteria.residual_sink_share = 0.4;
  criteria.int8_magnitude = 1.2;
  return criteria;
}

TEST(ResidualSinks, AgreeWithTransformers) {
  size_t listed = 0;
  const auto check = [&](const tests::OracleLayer& o) {
    const at::Tensor x = o.point("resid_in"), y = o.point("attn_norm_out");  // [N,T,D]
    const int64_t N = x.size(0), T = x.size(1), D = x.size(2);
    const at::Tensor z = x / x.square().mean(2, true).sqrt(),
                     rms = z.square().mean(at::IntArrayRef({0, 1})).sqrt(),
                     gain = y.square().mean(at::IntArrayRef({0, 1})).sqrt() / rms,
                     share = (z.abs() > 1.2).to(at::kDouble).mean(at::IntArrayRef({0, 1}));
    std::map<int64_t, double> wanted;
    for (int64_t c = 0; c < D; ++c) {
      if (share[c].item<double>() >= 0.4) wanted[c] = share[c].item<double>();
    }
    std::map<int64_t, double> got;
    for (const results::ResidualSink& sink : o.part().residual_sinks) {
      got[sink.channel] = sink.share;
      EXPECT_NEAR(sink.rms, rms[sink.channel].item<double>(), 1e-4 * sink.rms) << o.name;
      ASSERT_EQ(sink.gain.has_value(), o.config().input_norms) << o.name;
      if (!sink.gain) continue;
      EXPECT_NEAR(*sink.gain, gain[sink.channel].item<double>(), 1e-4 * *sink.gain) << o.name;
    }
    EXPECT_EQ(got, wanted) << o.name;
    listed += got.size();
    if (o.config().input_norms) o.expect("norm_gain_median", gain.median(), 5e-4);

    const at::Tensor l1 = y.abs().sum(2), l2 = y.square().sum(2).sqrt();
    const double root = std::sqrt(static_cast<double>(D));
    const at::Tensor sparsity = (root - l1 / l2) / (root - 1);  // [N,T]
    at::Tensor spike = at::zeros({N}, at::kDouble), others = spike.clone();
    std::vector<at::Tensor> spikes, lasts;
    for (int64_t n = 0; n < N; ++n) {
      const int64_t t = x[n].abs().amax(1).argmax().item<int64_t>();
      spike[n] = sparsity[n][t];
      others[n] = (sparsity[n].sum() - sparsity[n][t]) / static_cast<double>(T - 1);
      spikes.push_back(y[n][t] / y[n][t].norm());
      lasts.push_back(y[n][T - 1] / y[n][T - 1].norm());
    }
    o.expect("normed_sparsity_spike", spike.mean());
    o.expect("normed_sparsity_other", others.mean());
    if (N < 2) return;
    const auto constancy = [&](const std::vector<at::Tensor>& u) {
      double sum = 0;
      for (int64_t i = 0; i < N; ++i) {
        for (int64_t j = 0; j < N; ++j)
          if (i != j) sum += u[static_cast<size_t>(i)].dot(u[static_cast<size_t>(j)]).item<double>();
      }
      return at::tensor(sum / static_cast<double>(N * (N - 1)), at::kDouble);
    };
    o.expect("normed_constancy_spike", constancy(spikes), 2e-4, 1e-5);
    o.expect("normed_constancy_last", constancy(lasts), 2e-4, 1e-5);
  };
  tests::for_each_oracle_layer({"residual_sinks"}, check, criteria_of_tiny_models());
  EXPECT_GT(listed, 50u);
}

TEST(ResidualSinks, AreTheChannelsThatArePlanted) {
  tests::Planted planted;
  // Channel 20 is large in every token but the outlier, where another channel is far larger.
  at::Tensor embedding = planted.tensor("model.embed_tokens.weight");
  embedding.select(1, 20).fill_(100);
  embedding[tests::Planted::kFirst][20] = 0;
  planted.tensor("model.layers.1.input_layernorm.weight")[20] = 0.25;
  const at::Tensor ids = tests::Planted::sequence(5).unsqueeze(0);
  Criteria criteria;
  criteria.residual_sink_rms = 5;  // one of 32 channels has sqrt 32 = 5.7 at most
  const tests::Measured found =
      tests::measure(*planted.open(), {{"corpus", ids}}, {"residual_sinks"}, {}, criteria);
  const results::LayerInput& of = found.part(1, "corpus");
  ASSERT_EQ(of.residual_sinks.size(), 1u);
  EXPECT_EQ(of.residual_sinks[0].channel, 20);
  const double T = tests::Planted::kTokens;
  EXPECT_NEAR(of.residual_sinks[0].share, (T - 1) / T, 1e-9);
  EXPECT_NEAR(*of.residual_sinks[0].gain, 0.25, 1e-4);
  EXPECT_NEAR((*of.values.find("norm_gain_median"))[0], 1, 1e-3);
  EXPECT_GT((*of.values.find("normed_sparsity_spike"))[0], 0.9);
}

TEST(Int8Outliers, AgreeWithTransformers) {
  const Criteria criteria = criteria_of_tiny_models();
  for (const std::string& name : tests::golden_models()) {
    const std::filesystem::path folder = tests::golden("models/" + name);
    const io::NpzReader reference(folder / "reference.npz");
    const auto opened = models::Model::open(folder / "model.safetensors");
    const models::Config& c = opened->config();
    run::Input input = tests::golden_input(*opened, reference);
    input.name = "corpus";
    const results::Results results =
        tests::measure(*opened, {input}, {"int8_outliers"}, {}, criteria).results;
    at::Tensor hit = at::zeros({c.width}, at::kLong), places = hit.clone();
    int64_t count = 0;
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      at::Tensor here = at::zeros({c.width}, at::kLong);
      for (const char* point : {"attn_norm_out", "mlp_norm_out"}) {
        const std::string path = fmt::format("layer.{}.{}", layer, point);
        const at::Tensor x = reference.read(path).to(at::kDouble);
        here += (x.abs() >= criteria.int8_magnitude).sum(at::IntArrayRef({0, 1}));
        count += x.size(0) * x.size(1);
      }
      hit += here > 0;
      places += here;
      EXPECT_EQ((*results.layers[static_cast<size_t>(layer)].inputs.find("corpus")->values.find(
                    "int8_outlier_channels"))[0],
                (here > 0).sum().item<double>())
          << name;
    }
    std::map<int64_t, std::pair<double, double>> wanted, got;
    for (int64_t channel = 0; channel < c.width; ++channel) {
      const double of_layers = hit[channel].item<double>() / static_cast<double>(c.layers),
                   of_tokens = places[channel].item<double>() / static_cast<double>(count);
      if (of_layers >= 0.25 && of_tokens >= 0.06) wanted[channel] = {of_layers, of_tokens};
    }
    ASSERT_TRUE(results.inputs[0].int8_outliers.has_value()) << name;
    for (const results::Int8Outlier& x : *results.inputs[0].int8_outliers)
      got[x.channel] = {x.layer_share, x.token_share};
    EXPECT_EQ(got, wanted) << name;
  }
}

TEST(Spectrum, AgreesWithTransformers) {
  tests::for_each_oracle_layer({"spectrum"}, [](const tests::OracleLayer& o) {
    const at::Tensor x = o.point("resid_out");
    double entropy = 0, rank = 0;
    const int64_t N = x.size(0);
    for (int64_t n = 0; n < N; ++n) {
      const at::Tensor s = at::linalg_svdvals(x[n]);
      const auto entropy_of = [](const at::Tensor& of) {
        const at::Tensor p = of / of.sum();
        return -(p * p.clamp_min(1e-300).log()).sum().item<double>();
      };
      entropy += entropy_of(s.square()) / static_cast<double>(N);
      rank += std::exp(entropy_of(s)) / static_cast<double>(N);
    }
    const double most = std::log(static_cast<double>(std::min(x.size(1), x.size(2))));
    o.expect("matrix_entropy", at::tensor(entropy, at::kDouble), 1e-4);
    o.expect("matrix_entropy_share", at::tensor(entropy / most, at::kDouble), 1e-4);
    o.expect("effective_rank", at::tensor(rank, at::kDouble), 1e-4);
  });
}

TEST(Collinearity, IsTheLargestProductWithASingularVector) {
  for (const std::string& name : tests::golden_models()) {
    const auto model = models::Model::open(tests::golden("models/" + name + "/model.safetensors"));
    run::Input input = tests::some_input(*model);
    input.name = "corpus";
    struct Weights : run::Observer {
      bool wants(const run::Site&, size_t) const override { return false; }
      bool wants_weights(int64_t) const override { return true; }
      void on_weight(int64_t layer, const run::LayerWeight& w) override {
        matrices[{layer, w.expert, w.module}] = w.tensor.to(at::kDouble);
      }
      std::map<std::tuple<int64_t, int64_t, std::string>, at::Tensor> matrices;
    } weights;
    run::forward(*model, {input}, {&weights}, {});
    const tests::Measured found = tests::measure(*model, {input}, {"collinearity"});
    std::map<int64_t, double> most;
    for (const auto& [place, up] : weights.matrices) {
      const auto& [layer, expert, module] = place;
      if (module != "up") continue;
      const auto [U, S, V] = at::linalg_svd(up, false);
      const at::Tensor products = (at::matmul(weights.matrices.at({layer, expert, "down"}), U) * S).abs();
      most[layer] = std::max(most[layer], products.max().item<double>());
      const std::optional<results::Collinearity>& c =
          found.results.layers[static_cast<size_t>(layer)].collinearity;
      ASSERT_TRUE(c.has_value()) << name;
      const int64_t of = c->expert ? c->expert->number : run::kNoExpert;
      if (of != expert) continue;
      EXPECT_NEAR(products[c->channel][c->rank].item<double>(), c->value, 1e-4 * c->value) << name;
      EXPECT_NEAR(S[c->rank].item<double>(), c->singular_value, 1e-4 * c->singular_value) << name;
    }
    for (const auto& [layer, value] : most)
      EXPECT_NEAR(found.results.layers[static_cast<size_t>(layer)].collinearity->value, value, 1e-4 * value)
          << name;
  }
}

TEST(Collinearity, PointsAtThePlantedChannel) {
  const tests::Measured found = tests::measure(
      *tests::Planted().open(), {{"corpus", tests::Planted::sequence(5).unsqueeze(0)}}, {"collinearity"});
  const auto& layers = found.results.layers;
  EXPECT_EQ(layers[0].collinearity->channel, 3);
  EXPECT_NEAR(layers[0].collinearity->value, tests::Planted::kBorn, 1e-3 * tests::Planted::kBorn);
  EXPECT_EQ(layers[1].collinearity->channel, 6);
}

}  // namespace
}  // namespace outliers::measures
