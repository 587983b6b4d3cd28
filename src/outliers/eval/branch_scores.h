// What the logits of a run's branches say beside those of the plain run, summed up over blocks of the
// vocabulary.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/eval/token_scores.h"

namespace outliers::eval {

/// Input 0 is the plain run, the others are its branches. For each scored token the log-sum-exp and the
/// target's logit (TokenScores), the token of the largest logit, and of branches
///     KL(p || q) = sum_v p_v (a_v - b_v) - LSE_a + LSE_b,
/// where a are the plain logits, p = softmax(a), and b are the branch's. The sum is kept as a mean under the
/// softmax of the blocks so far, which a block joins with its share of the probability.
class BranchScores : public run::LogitBlocks, public run::Observer {
 public:
  /// vocabulary: V. `progress` is told of the tokens that have passed the head.
  BranchScores(const Windows::Scored& scored, int64_t vocabulary, size_t inputs,
               run::ProgressObserver* progress);

  at::Tensor places(size_t input) const override;
  void on_logits(size_t input, int64_t first, int64_t first_id, const at::Tensor& logits) override;

  bool wants(const run::Site&, size_t) const override { return false; }
  run::ObserverMemory memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                             int64_t chunk_tokens) const override;

  // On the CPU, in the order of the places, [n].
  at::Tensor nll_nats(size_t input) const { return sums_[input].scores.nll_nats(); }
  at::Tensor kl_nats(size_t input) const;    ///< float64
  at::Tensor same_top1(size_t input) const;  ///< bool: whether the largest logit is the plain run's token

 private:
  struct Sums {
    TokenScores scores;
    at::Tensor best, best_id;  // float64 and int64 [n]
    at::Tensor difference;     // float64 [n]: mean of a - b under p, of branches
  };
  /// The plain run's block, for the branches that are shown theirs after it.
  struct Plain {
    at::Tensor logits, probabilities;  // [m,v]; probabilities within the block
    at::Tensor share_before, share;    // float64 [m]: of the blocks so far, and of this one, in the total
  };

  Windows::Scored scored_;
  int64_t vocabulary_;
  std::vector<Sums> sums_;
  Plain plain_;
};

}  // namespace outliers::eval
