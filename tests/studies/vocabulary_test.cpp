// The vocabulary's spikes on a model where one token is made to, and against runs of each token by itself.
#include "outliers/studies/vocabulary.h"

#include <gtest/gtest.h>

#include "measures/measured.h"
#include "measures/planted.h"
#include "support.h"

namespace outliers::studies {
namespace {

TEST(Vocabulary, FindsTheTokenThatIsPlanted) {
  const tests::Numbers names;
  run::RunTimes times;
  const results::VocabularySpikes found =
      spikes_of_vocabulary(*tests::Planted().open(), names, {}, {}, times, true);
  EXPECT_EQ(found.tokens, tests::Planted::kVocabulary);
  EXPECT_EQ(found.spiking, 1);
  EXPECT_DOUBLE_EQ(found.share, 0.1);
  EXPECT_EQ(found.channel, 6);
  ASSERT_EQ(found.exceptions.size(), 1u);
  EXPECT_EQ(found.exceptions[0].id, tests::Planted::kFirst);
  EXPECT_EQ(found.exceptions[0].layer, 1);
  const double written = tests::Planted::kWritten * tests::Planted::taken();
  EXPECT_NEAR(found.exceptions[0].max, written, 1e-3 * written);
  ASSERT_EQ(found.layers.size(), 2u);
  EXPECT_DOUBLE_EQ(found.layers[0].share, 0.1);
  EXPECT_GT(times.forward_seconds, 0);
}

/// The largest abs x and the median of every layer's output.
class Outputs : public run::Observer {
 public:
  bool wants(const run::Site& site, size_t) const override { return site.point == run::Point::resid_out; }
  void on_point(const run::Site&, const run::Slice&, const at::Tensor& x) override {
    const at::Tensor sizes = std::get<0>(x[0][0].abs().to(at::kDouble).sort());
    maxima.push_back(sizes[-1].item<double>());
    medians.push_back(sizes[(sizes.numel() - 1) / 2].item<double>());
  }
  std::vector<double> maxima, medians;
};

TEST(Vocabulary, IsThatOfEachTokenByItself) {
  for (const char* name : {"llama_untied", "gpt2_tied", "mixtral_experts", "gemma3_plain"}) {
    const std::filesystem::path folder = tests::golden(std::string("models/") + name);
    const auto model = models::Model::open(folder / "model.safetensors");
    const int64_t V = model->config().vocabulary;
    std::vector<Outputs> outputs(static_cast<size_t>(V));
    double most = 0;
    for (int64_t id = 0; id < V; ++id) {
      Outputs& of = outputs[static_cast<size_t>(id)];
      run::forward(*model, {{"one", at::full({1, 1}, id, at::kLong)}}, {&of}, {});
      most = std::max(most, *std::max_element(of.maxima.begin(), of.maxima.end()));
    }
    // Thresholds between which some tokens of so small a model lie.
    Criteria criteria;
    criteria.massive_above = 0.7 * most;
    criteria.found_ratio = 3;
    int64_t spiking = 0;
    std::vector<double> shares(outputs.front().maxima.size());
    for (const Outputs& of : outputs) {
      bool any = false;
      for (size_t l = 0; l < of.maxima.size(); ++l) {
        const bool spikes =
            of.maxima[l] > criteria.massive_above && of.maxima[l] > criteria.found_ratio * of.medians[l];
        shares[l] += spikes ? 1 / static_cast<double>(V) : 0;
        any = any || spikes;
      }
      spiking += any ? 1 : 0;
    }
    const tests::Numbers names;
    run::RunTimes times;
    const results::VocabularySpikes found = spikes_of_vocabulary(*model, names, {}, criteria, times, true);
    EXPECT_EQ(found.tokens, V) << name;
    EXPECT_EQ(found.spiking, spiking) << name;
    EXPECT_GT(spiking, 0) << name;
    EXPECT_LT(spiking, V) << name;
    for (size_t l = 0; l < shares.size(); ++l) EXPECT_NEAR(found.layers[l].share, shares[l], 1e-9) << name;
    for (const results::VocabularyToken& token : found.exceptions) {
      const Outputs& of = outputs[static_cast<size_t>(token.id)];
      const auto largest = std::max_element(of.maxima.begin(), of.maxima.end());
      EXPECT_NEAR(token.max, *largest, 1e-4 * *largest) << name;
      EXPECT_EQ(token.layer, largest - of.maxima.begin()) << name;
      EXPECT_EQ(token.token_text, std::to_string(token.id));
    }
  }
}

}  // namespace
}  // namespace outliers::studies
