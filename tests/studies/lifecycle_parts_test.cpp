// The parts of every family's tiny model against plain formulas on what transformers gave (reference.npz).
#include "outliers/studies/lifecycle_parts.h"

#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "outliers/io/npz.h"
#include "outliers/run/runner.h"

#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::studies {
namespace {

constexpr int64_t kToken = 2, kChannel = 3;

class GoldenLife : public testing::TestWithParam<std::string> {
 protected:
  GoldenLife()
      : model_(models::Model::open(tests::golden("models/" + GetParam() + "/model.safetensors"))),
        c_(model_->config()),
        reference_(tests::golden("models/" + GetParam() + "/reference.npz")) {
    run::Input input = tests::golden_input(*model_, reference_);
    input.ids = input.ids.narrow(0, 0, 1);
    if (input.pixels.defined()) input.pixels = input.pixels.narrow(0, 0, 1);
    inputs_ = {input};
    LifeTargets target;
    target.name = "prompt";
    target.tokens = input.ids.size(1);
    target.token = kToken;
    target.channel = kChannel;
    target.born = target.removed = target.spread = last();
    target.head = c_.heads - 1;
    // Between the tokens of the last layer's input, so that some are outliers and some are not.
    const at::Tensor in = point(last(), "resid_in").abs();
    const at::Tensor tallest = std::get<0>((in.amax(1) / in.mean()).sort());
    const int64_t half = tallest.size(0) / 2;
    criteria_.outlier_token_ratio = (tallest[half - 1].item<double>() + tallest[half].item<double>()) / 2;
    parts_ = std::make_unique<LifecycleParts>(*model_, std::vector<LifeTargets>{target}, criteria_);
    run::RunOptions options;
    options.dtype = at::kDouble;
    run::forward(*model_, inputs_, {parts_.get()}, options);
    for (auto& [name, array] : parts_->take_arrays()) arrays_[name] = array;
  }

  int64_t last() const { return c_.layers - 1; }
  at::Tensor point(int64_t layer, const std::string& name) const {
    return reference_.read(fmt::format("layer.{}.{}", layer, name)).to(at::kDouble)[0];
  }
  bool has(int64_t layer, const std::string& name) const {
    return reference_.has(fmt::format("layer.{}.{}", layer, name));
  }
  double value(int64_t layer, const std::string& name) const {
    return point(layer, name)[kToken][kChannel].item<double>();
  }
  const LifecycleParts::Found& found() const { return parts_->found(0); }

  std::unique_ptr<models::Model> model_;
  const models::Config& c_;
  io::NpzReader reference_;
  Criteria criteria_;
  std::vector<run::Input> inputs_;
  std::unique_ptr<LifecycleParts> parts_;
  std::map<std::string, at::Tensor> arrays_;
};

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double one : values) total += one;
  return total;
}

TEST_P(GoldenLife, PartsAddUpToTheResidual) {
  double all = found().embedding, sizes = std::abs(all);
  EXPECT_NEAR(all, value(0, "resid_in"), 1e-6 * (1 + std::abs(all)));
  ASSERT_EQ(found().layers.size(), static_cast<size_t>(c_.layers));
  for (int64_t l = 0; l < c_.layers; ++l) {
    const results::LayerContributions& layer = found().layers[static_cast<size_t>(l)];
    double neurons = layer.other_neurons;
    for (const results::Neuron& neuron : layer.neurons) neurons += neuron.product;
    const double attention = sum(layer.heads) + layer.attention_bias, mlp = neurons + layer.mlp_bias;
    const double attention_added = value(l, "attn_added"), mlp_added = value(l, "mlp_added");
    EXPECT_NEAR(attention, attention_added, 2e-6 * (1 + std::abs(attention_added))) << l;
    EXPECT_NEAR(mlp, mlp_added, 2e-6 * (1 + std::abs(mlp_added))) << l;
    all += attention + mlp + layer.norm;
    sizes += std::abs(attention) + std::abs(mlp) + std::abs(layer.norm);
    EXPECT_NEAR(all, value(l, "resid_out"), 2e-6 * (1 + sizes)) << l;
    EXPECT_EQ(layer.norm != 0, c_.residual_norms) << l;
  }
}

TEST_P(GoldenLife, PartsAddUpInFloat32) {
  LifeTargets target;
  target.tokens = inputs_.front().ids.size(1);
  target.token = kToken;
  target.channel = kChannel;
  LifecycleParts parts(*model_, {target}, criteria_);
  run::forward(*model_, inputs_, {&parts}, {});
  double all = parts.found(0).embedding, sizes = std::abs(all);
  for (const results::LayerContributions& layer : parts.found(0).layers) {
    double added =
        sum(layer.heads) + layer.attention_bias + layer.other_neurons + layer.mlp_bias + layer.norm;
    for (const results::Neuron& neuron : layer.neurons) added += neuron.product;
    all += added;
    sizes = std::max(sizes, std::abs(layer.resid_out));
    EXPECT_NEAR(all, layer.resid_out, 1e-4 * sizes) << layer.layer;
  }
}

TEST_P(GoldenLife, HeadsArePartsOfTheProjection) {
  for (int64_t l = 0; l < c_.layers; ++l) {
    const at::Tensor weight = model_->load(fmt::format("layer.{}.o.weight", l), at::kDouble)[kChannel];
    const at::Tensor mixed = point(l, "o_in");  // [H,T,d]
    double factor = value(l, "attn_added") / value(l, "attn_out");
    const results::LayerContributions& layer = found().layers[static_cast<size_t>(l)];
    for (int64_t h = 0; h < c_.heads; ++h) {
      const at::Tensor row = weight.narrow(0, h * c_.head_width, c_.head_width);
      const double wanted = mixed[h][kToken].dot(row).item<double>() * factor;
      EXPECT_NEAR(layer.heads[static_cast<size_t>(h)], wanted, 3e-6 * (1 + std::abs(wanted)))
          << l << " " << h;
    }
  }
}

TEST_P(GoldenLife, NeuronsAreTheLargestAndTellHowTheyCame) {
  const results::LayerContributions& layer = found().layers.back();
  const double factor = value(last(), "mlp_added") / value(last(), "down_out");
  if (!models::is_routed(c_, last())) {
    const at::Tensor down = model_->load(fmt::format("layer.{}.down.weight", last()), at::kDouble)[kChannel];
    const at::Tensor products = point(last(), "down_in")[kToken] * down * factor;
    const auto [sizes, places] = products.abs().topk(static_cast<int64_t>(layer.neurons.size()));
    for (size_t i = 0; i < layer.neurons.size(); ++i) {
      const int64_t n = places[static_cast<int64_t>(i)].item<int64_t>();
      EXPECT_EQ(layer.neurons[i].neuron, n);
      EXPECT_NEAR(layer.neurons[i].product, products[n].item<double>(), 1e-6);
    }
  }
  ASSERT_FALSE(found().neurons.empty());
  const at::Tensor read = point(last(), "mlp_norm_out")[kToken];
  for (const results::DrivenNeuron& neuron : found().neurons) {
    EXPECT_EQ(neuron.gate_out.has_value(), c_.gated_mlp);
    ASSERT_EQ(neuron.drives.size(), c_.gated_mlp ? 2u : 1u);
    for (const results::Drive& drive : neuron.drives) {
      double all = drive.other_channels + drive.bias;
      for (const results::ChannelProduct& one : drive.channels) {
        EXPECT_NEAR(one.input, read[one.channel].item<double>(), 1e-6);
        EXPECT_NEAR(one.product, one.input * one.weight, 1e-12);
        all += one.product;
      }
      EXPECT_NEAR(all, drive.value, 1e-9);
      if (!c_.mlp_bias && !models::is_routed(c_, last())) {
        EXPECT_NEAR(drive.bias, 0, 1e-5);
      }
    }
    if (neuron.expert) continue;
    const auto at_neuron = [&](const char* name) {
      return point(last(), name)[kToken][neuron.neuron].item<double>();
    };
    EXPECT_NEAR(neuron.up_out, at_neuron("up_out"), 1e-5);
    EXPECT_NEAR(neuron.act_out, at_neuron("act_out"), 1e-5);
    if (neuron.gate_out) {
      EXPECT_NEAR(*neuron.gate_out, at_neuron("gate_out"), 1e-5);
    }
    const at::Tensor all = point(last(), "down_in").select(1, neuron.neuron);
    EXPECT_EQ(neuron.tokens.front().token, all.abs().argmax().item<int64_t>());
    EXPECT_NEAR(neuron.tokens.front().down_in, all[neuron.tokens.front().token].item<double>(), 1e-5);
  }
}

TEST_P(GoldenLife, SpreadIsWhatThePlainFormulasGive) {
  const at::Tensor in = point(last(), "resid_in").abs();
  const int64_t T = in.size(0), groups = c_.heads / c_.kv_heads;
  const auto found_at = std::find_if(found().spread.begin(), found().spread.end(),
                                     [&](const auto& s) { return s.layer == last(); });
  ASSERT_NE(found_at, found().spread.end());
  const results::LayerSpread& spread = *found_at;
  std::vector<int64_t> wanted;
  for (int64_t t = 0; t < T; ++t) {
    if (in[t].max().item<double>() > criteria_.outlier_token_ratio * in.mean().item<double>())
      wanted.push_back(t);
  }
  ASSERT_EQ(spread.tokens, wanted);
  const auto is_outlier = [&](int64_t t) { return std::count(wanted.begin(), wanted.end(), t) > 0; };
  const at::Tensor logits = point(last(), "attn_logits"), probs = point(last(), "attn_probs"),
                   values = point(last(), "value"), q = point(last(), "query"), k = point(last(), "key");
  const double scale = c_.attention_scale / static_cast<double>(c_.scale_by_layer ? last() + 1 : 1);
  const bool plain_scores = c_.attention_softcap == 0 && c_.alibi_slopes.empty();
  for (int64_t h = 0; h < c_.heads; ++h) {
    double cosine[2] = {}, pairs[2] = {}, norm[2] = {}, tokens[2] = {}, margin = 0, probability = 0,
           share = 0;
    int64_t both = 0;
    for (int64_t t = 0; t < T; ++t) {
      norm[is_outlier(t)] += values[h / groups][t].norm().item<double>();
      tokens[is_outlier(t)] += 1;
    }
    for (int64_t i = 0; i < T; ++i) {
      double largest[2] = {-INFINITY, -INFINITY}, given = 0;
      at::Tensor brought[2] = {at::zeros({c_.head_width}, at::kDouble),
                               at::zeros({c_.head_width}, at::kDouble)};
      for (int64_t j = 0; j < T; ++j) {
        const double logit = logits[h][i][j].item<double>(), p = probs[h][i][j].item<double>();
        if (!std::isfinite(logit)) continue;
        const bool o = is_outlier(j);
        largest[o] = std::max(largest[o], logit);
        if (o) given += p;
        brought[o] += p * values[h / groups][j];
        const double norms = q[h][i].norm().item<double>() * k[h / groups][j].norm().item<double>();
        cosine[o] += logit / (scale * norms);
        pairs[o] += 1;
      }
      if (!std::isfinite(largest[0]) || !std::isfinite(largest[1])) continue;
      ++both;
      margin += largest[1] - largest[0];
      probability += given;
      const double of_outliers = brought[1].norm().item<double>(),
                   of_others = brought[0].norm().item<double>();
      share += of_outliers / (of_outliers + of_others);
    }
    const auto n = static_cast<double>(both);
    const auto at_head = [&](const std::vector<double>& list) { return list[static_cast<size_t>(h)]; };
    ASSERT_GT(both, 0);
    EXPECT_NEAR(at_head(spread.margin), margin / n, 2e-5);
    EXPECT_NEAR(at_head(spread.probability), probability / n, 2e-6);
    EXPECT_NEAR(at_head(spread.output_share), share / n, 2e-6);
    EXPECT_NEAR(at_head(spread.value_ratio), (norm[1] / tokens[1]) / (norm[0] / tokens[0]), 1e-5);
    if (!plain_scores) continue;
    // YaRN and LongRoPE make queries and keys longer in their scores.
    const int r = c_.rotary_of_layer[static_cast<size_t>(last())];
    const double longer = r < 0 ? 1 : c_.rotaries[static_cast<size_t>(r)].attention_factor;
    if (longer != 1) continue;
    EXPECT_NEAR(at_head(spread.cosine_outlier), cosine[1] / pairs[1], 1e-5);
    EXPECT_NEAR(at_head(spread.cosine_other), cosine[0] / pairs[0], 1e-5);
  }
}

TEST_P(GoldenLife, ArraysAreTheLayersPoints) {
  const auto expect_same = [&](const std::string& name, const at::Tensor& wanted) {
    ASSERT_TRUE(arrays_.contains(name)) << name;
    EXPECT_TRUE(at::allclose(arrays_.at(name).to(at::kDouble), wanted, 1e-5, 1e-5, true)) << name;
  };
  for (const char* part : {"born", "removed"}) {
    for (const char* name : {"resid_mid", "mlp_norm_out", "down_out", "resid_out"})
      expect_same(fmt::format("prompt.life.{}.{}", part, name), point(last(), name));
    if (has(last(), "down_in")) {
      for (const char* name : {"act_out", "up_out", "down_in"})
        expect_same(fmt::format("prompt.life.{}.{}", part, name), point(last(), name));
    }
    const at::Tensor lines = arrays_.at(fmt::format("prompt.life.{}.neurons", part));
    const int64_t neuron = found().layers.back().neurons.front().neuron;
    EXPECT_TRUE(lines.eq(neuron).any().item<bool>()) << neuron;
    if (models::is_routed(c_, last())) continue;
    const at::Tensor down = model_->load(fmt::format("layer.{}.down.weight", last()), at::kDouble);
    for (int64_t i = 0; i < lines.size(0) && lines[i].item<int64_t>() >= 0; ++i) {
      const at::Tensor column =
          arrays_.at(fmt::format("prompt.life.{}.down_columns", part))[i].to(at::kDouble);
      EXPECT_TRUE(at::allclose(column, down.select(1, lines[i].item<int64_t>()), 1e-6, 1e-6)) << i;
    }
  }
  expect_same("prompt.life.spread.query", point(last(), "query")[c_.heads - 1]);
  expect_same("prompt.life.spread.key", point(last(), "key")[c_.kv_heads - 1]);
  expect_same("prompt.life.spread.value", point(last(), "value")[c_.kv_heads - 1]);
  expect_same("prompt.life.spread.attn_probs", point(last(), "attn_probs")[c_.heads - 1]);
}

TEST_P(GoldenLife, ConstancyIsTheMeanCosineOfOutlierTokens) {
  const auto found_at = std::find_if(parts_->constancy().begin(), parts_->constancy().end(),
                                     [&](const auto& one) { return one.layer == last(); });
  const std::vector<int64_t>& tokens = found().spread.back().tokens;
  ASSERT_EQ(found().spread.back().layer, last());
  if (tokens.size() < 2) return;
  ASSERT_NE(found_at, parts_->constancy().end());
  const at::Tensor normed = point(last(), "attn_norm_out");
  double all = 0, pairs = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (size_t j = i + 1; j < tokens.size(); ++j) {
      const at::Tensor a = normed[tokens[i]], b = normed[tokens[j]];
      all += (a.dot(b) / (a.norm() * b.norm())).item<double>();
      pairs += 1;
    }
  }
  EXPECT_EQ(found_at->tokens, static_cast<int64_t>(tokens.size()));
  EXPECT_NEAR(found_at->cosine, all / pairs, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenLife, testing::ValuesIn(tests::golden_models()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace outliers::studies
