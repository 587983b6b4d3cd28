// Branches beside the plain run over blocks of the vocabulary, against the plain formulas in float64.
#include "outliers/eval/branch_scores.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace outliers::eval {
namespace {

/// Shown as a run does it: a block of the plain logits, then the branches' of the same tokens and ids.
BranchScores shown(const std::vector<at::Tensor>& logits, const at::Tensor& targets, int64_t rows,
                   int64_t columns) {
  const int64_t n = targets.size(0), V = logits.front().size(1);
  BranchScores scores({at::arange(n), targets}, V, logits.size(), nullptr);
  for (int64_t id = 0; id < V; id += columns) {
    for (int64_t first = 0; first < n; first += rows) {
      for (size_t input = 0; input < logits.size(); ++input) {
        scores.on_logits(
            input, first, id,
            logits[input].slice(0, first, std::min(first + rows, n)).slice(1, id, std::min(id + columns, V)));
      }
    }
  }
  return scores;
}

at::Tensor plain_kl(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor p = a.to(at::kDouble).log_softmax(1), q = b.to(at::kDouble).log_softmax(1);
  return (p.exp() * (p - q)).sum(1);
}

TEST(BranchScores, AreThoseOfWholeLogits) {
  at::manual_seed(7);
  constexpr int64_t n = 30, V = 500;
  const at::Tensor plain = (at::randn({n, V}) * at::logspace(-1, 1, n).unsqueeze(1)).to(at::kFloat);
  const std::vector<at::Tensor> logits = {plain, plain + 0.1 * at::randn({n, V}), at::randn({n, V}) * 8 - 300,
                                          plain + 40, plain};
  const at::Tensor targets = at::randint(V, {n}, at::kLong);
  for (const int64_t columns : {3, 100, 499, 500, 4096}) {
    for (const int64_t rows : {7, 30}) {
      const BranchScores scores = shown(logits, targets, rows, columns);
      for (size_t i = 1; i < logits.size(); ++i) {
        const at::Tensor wanted = plain_kl(plain, logits[i]), got = scores.kl_nats(i);
        EXPECT_TRUE(at::allclose(got, wanted, 1e-5, 3e-5))
            << i << " " << columns << " " << (got - wanted).abs().max().item<double>();
        const at::Tensor nll =
            -logits[i].to(at::kDouble).log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1);
        EXPECT_TRUE(at::allclose(scores.nll_nats(i), nll, 1e-6, 1e-5));
        EXPECT_TRUE(at::equal(scores.same_top1(i), logits[i].argmax(1).eq(plain.argmax(1)))) << i;
      }
      EXPECT_TRUE(scores.kl_nats(4).eq(0).all().item<bool>()) << "the same logits";
      EXPECT_FALSE(scores.same_top1(2).all().item<bool>());
    }
  }
}

}  // namespace
}  // namespace outliers::eval
