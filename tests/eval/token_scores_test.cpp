// Sums over blocks of the vocabulary against the plain formula in float64.
#include "outliers/eval/token_scores.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace outliers::eval {
namespace {

/// -log softmax(logits)[target] of each row.
at::Tensor plain_nll(const at::Tensor& logits, const at::Tensor& targets) {
  return -logits.to(at::kDouble).log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1);
}

/// Shown in blocks of `rows` tokens and `columns` ids, as a run does it: all tokens pass a block before the
/// next.
at::Tensor blockwise_nll(const at::Tensor& logits, const at::Tensor& targets, int64_t rows, int64_t columns) {
  const int64_t n = logits.size(0), V = logits.size(1);
  TokenScores scores({at::arange(n), targets}, V);
  for (int64_t id = 0; id < V; id += columns) {
    for (int64_t first = 0; first < n; first += rows) {
      scores.on_logits(
          0, first, id,
          logits.slice(0, first, std::min(first + rows, n)).slice(1, id, std::min(id + columns, V)));
    }
  }
  return scores.nll_nats();
}

TEST(TokenScores, AreThoseOfWholeLogits) {
  at::manual_seed(3);
  constexpr int64_t V = 1000;
  for (const double offset : {0.0, 5000.0, -5000.0}) {
    // Rows are flat, peaked, and in between; the largest logit is in another block from row to row.
    const at::Tensor scale = at::logspace(-2, 2, 40).unsqueeze(1);
    const at::Tensor logits = (at::randn({40, V}) * scale + offset).to(at::kFloat);
    for (const int64_t columns : {7, 250, 999, 1000, 4096}) {
      // Targets at both ends of blocks, at both ends of the vocabulary, and anywhere.
      at::Tensor targets = at::randint(V, {40}, at::kLong);
      int64_t row = 0;
      for (const int64_t target :
           {int64_t{0}, columns - 1, columns, columns + 1, 2 * columns - 1, 2 * columns, V - 2, V - 1}) {
        if (target >= 0 && target < V) targets[row++] = target;
      }
      const at::Tensor wanted = plain_nll(logits, targets);
      for (const int64_t rows : {13, 40}) {
        const at::Tensor got = blockwise_nll(logits, targets, rows, columns);
        EXPECT_TRUE(at::allclose(got, wanted, 1e-6, 2e-6))
            << offset << " " << columns << " " << rows << " " << (got - wanted).abs().max().item<double>();
      }
      const at::Tensor wide = blockwise_nll(logits.to(at::kDouble), targets, 13, columns);
      EXPECT_TRUE(at::allclose(wide, wanted, 1e-12, 1e-11)) << offset << " " << columns;
    }
  }
}

TEST(TokenScores, OfSixteenBitsAreSummedInFloat32) {
  at::manual_seed(4);
  const at::Tensor logits = (at::randn({20, 3000}) * 3).to(at::kBFloat16);
  const at::Tensor targets = at::randint(3000, {20}, at::kLong);
  EXPECT_TRUE(at::allclose(blockwise_nll(logits, targets, 7, 512), plain_nll(logits, targets), 1e-6, 2e-6));
}

TEST(TokenScores, TellWhatIsNotFinite) {
  at::Tensor logits = at::zeros({3, 10});
  logits[1][7] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor nll = blockwise_nll(logits, at::zeros({3}, at::kLong), 3, 4);
  EXPECT_TRUE(std::isfinite(nll[0].item<double>()));
  EXPECT_TRUE(std::isnan(nll[1].item<double>()));
  EXPECT_TRUE(std::isfinite(nll[2].item<double>()));
}

}  // namespace
}  // namespace outliers::eval
