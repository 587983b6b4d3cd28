// What neurons write, in units of the residual, against what transformers computed in float64 for every tiny
// model (tests/oracle/models_tiny.py, models_vision.py).
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "outliers/io/npz.h"
#include "outliers/run/layer_weights.h"

#include "measures/measured.h"
#include "run/golden_inputs.h"
#include "support.h"

namespace outliers::measures {
namespace {

/// Of one layer, in float64: what each neuron adds to each channel at a token of sequence 0.
class Products {
 public:
  Products(const models::Model& model, const io::NpzReader& reference, int64_t layer)
      : model_(model),
        c_(model.config()),
        layer_(layer),
        reference_(reference),
        weights_(run::load_layer(model, layer, at::kDouble, at::kCPU)),
        experts_(model, layer, at::kDouble, at::kCPU, watch_) {}

  at::Tensor point(const std::string& name) const {
    return reference_.read(fmt::format("layer.{}.{}", layer_, name))[0];
  }

  /// What the channel's sum is multiplied by before it is added: LayerScale, or a norm's weight over the root
  /// mean square.
  double factor(int64_t token, int64_t channel) const {
    if (c_.branch_scales) return weights_.mlp_scale[channel].item<double>();
    if (!c_.branch_norms) return 1;
    const at::Tensor down_out = point("down_out")[token].to(at::kDouble);
    const double weight = weights_.mlp_post_norm.weight[channel].item<double>();
    return weight / std::sqrt(down_out.square().mean().item<double>() + c_.norm_epsilon);
  }

  /// By expert (-1: there is none), what its neurons add, [F], and its bias; what the neurons are, the row of
  /// W_down, and how much the router or the shared expert's gate lets pass.
  struct Part {
    at::Tensor products;
    double bias;
    at::Tensor down_in, row;
    double weight;
  };
  std::map<int64_t, Part> at(int64_t token, int64_t channel) {
    const double f = factor(token, channel);
    const auto part = [&](const run::Mlp& mlp, const at::Tensor& down_in, double weight) {
      const double bias = mlp.down_bias.defined() ? mlp.down_bias[channel].item<double>() : 0;
      const at::Tensor wide = down_in.to(at::kDouble), row = mlp.down[channel];
      return Part{wide * row * (weight * f), bias * weight * f, wide, row, weight};
    };
    if (!models::is_routed(c_, layer_))
      return {{run::kNoExpert, part(weights_.mlp, point("down_in")[token], 1)}};
    std::map<int64_t, Part> parts;
    for (int64_t place = 0; place < c_.experts.used; ++place) {
      const int64_t expert = point("experts.index")[token][place].item().toLong();
      parts.emplace(expert, part(experts_[expert], point("experts.down_in")[token][place],
                                 point("experts.weight")[token][place].item().toDouble()));
    }
    if (c_.experts.shared_width > 0) {
      parts.emplace(run::kSharedExpert, part(weights_.mlp, point("shared.down_in")[token],
                                             point("shared.weight")[token][0].item().toDouble()));
    }
    return parts;
  }

 private:
  const models::Model& model_;
  const models::Config& c_;
  int64_t layer_;
  const io::NpzReader& reference_;
  run::Stopwatch watch_;
  run::LayerWeights weights_;
  run::LayerExperts experts_;
};

TEST(Writes, NeuronsAreToldInUnitsOfTheResidual) {
  std::set<std::string> kinds;
  for (const std::string& name : tests::golden_models()) {
    const std::filesystem::path folder = tests::golden("models/" + name);
    const io::NpzReader reference(folder / "reference.npz");
    const auto model = models::Model::open(folder / "model.safetensors");
    const models::Config& c = model->config();
    kinds.insert(c.branch_scales ? "scales" : c.branch_norms ? "norms" : "plain");
    run::Input input = tests::golden_input(*model, reference);
    input.name = "prompt";
    input.ids = input.ids.narrow(0, 0, 1);
    if (input.pixels.defined()) input.pixels = input.pixels.narrow(0, 0, 1);
    const tests::Measured found = tests::measure(*model, {input}, {"writes"});
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      SCOPED_TRACE(fmt::format("{} layer {}", name, layer));
      Products products(*model, reference, layer);
      const results::Writes& writes = *found.part(static_cast<size_t>(layer), "prompt").writes;
      const double largest = products.point("resid_out").abs().max().item().toDouble();
      EXPECT_NEAR(std::abs(writes.largest.resid_out), largest, 1e-5 * largest);
      EXPECT_EQ(writes.followed.has_value(), layer > 0);
      if (layer > 0) {
        const results::Write& before = found.part(static_cast<size_t>(layer) - 1, "prompt").writes->largest;
        EXPECT_EQ(writes.followed->token, before.token);
        EXPECT_EQ(writes.followed->channel, before.channel);
      }
      for (const results::Write* write : {&writes.largest, writes.followed ? &*writes.followed : nullptr}) {
        if (write == nullptr) continue;
        const auto value = [&](const char* point) {
          return products.point(point)[write->token][write->channel].item().toDouble();
        };
        const double scale =
            std::abs(value("resid_in")) + std::abs(value("resid_mid")) + std::abs(value("resid_out"));
        EXPECT_NEAR(write->resid_in, value("resid_in"), 1e-5 * scale);
        EXPECT_NEAR(write->attention, value("resid_mid") - value("resid_in"), 1e-5 * scale);
        EXPECT_NEAR(write->mlp, value("resid_out") - value("resid_mid"), 1e-5 * scale);
        EXPECT_NEAR(write->resid_in + write->attention + write->mlp, write->resid_out, 1e-5 * scale);

        const std::map<int64_t, Products::Part> parts = products.at(write->token, write->channel);
        double sum = 0, size = 0;
        std::vector<double> all;
        for (const auto& [expert, part] : parts) {
          sum += part.products.sum().item<double>() + part.bias;
          size += part.products.abs().sum().item<double>() + std::abs(part.bias);
          for (int64_t n = 0; n < part.products.numel(); ++n)
            all.push_back(std::abs(part.products[n].item<double>()));
        }
        const double added = value("down_out") * products.factor(write->token, write->channel);
        EXPECT_NEAR(sum, added, 1e-6 * size);  // the reference is stored in float32
        // Where the residual itself is normed after that, its norm counts to the MLP, too.
        if (!c.residual_norms) {
          EXPECT_NEAR(write->mlp, added, 1e-4 * size);
        }
        std::sort(all.rbegin(), all.rend());
        ASSERT_EQ(write->neurons.size(), 3u);
        for (size_t i = 0; i < 3; ++i) {
          const results::Neuron& neuron = write->neurons[i];
          const results::Expert expert = neuron.expert.value_or(results::Expert{run::kNoExpert});
          const Products::Part& part = parts.at(expert.number);
          const double wanted = part.products[neuron.neuron].item<double>();
          EXPECT_NEAR(neuron.product, wanted, 1e-4 * size);
          EXPECT_NEAR(std::abs(neuron.product), all[i], 1e-4 * size);
          EXPECT_NEAR(neuron.down_in, part.down_in[neuron.neuron].item<double>(),
                      1e-4 * part.down_in.abs().max().item<double>());
          EXPECT_FLOAT_EQ(neuron.weight, part.row[neuron.neuron].item<float>());
          EXPECT_EQ(neuron.expert.has_value(), models::is_routed(c, layer));
          EXPECT_EQ(neuron.expert_weight.has_value(), models::is_routed(c, layer));
          EXPECT_NEAR(neuron.expert_weight.value_or(1), part.weight, 1e-5);
        }
      }
    }
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"plain", "norms", "scales"}));
}

}  // namespace
}  // namespace outliers::measures
