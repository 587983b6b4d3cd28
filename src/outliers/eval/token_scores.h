// What the logits say of each scored token, summed up over blocks of the vocabulary.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/eval/windows.h"
#include "outliers/run/logit_blocks.h"
#include "outliers/run/observer.h"
#include "outliers/run/progress_observer.h"

namespace outliers::eval {

/// log sum_v e^x of each row, float64 [m]; x [m,v]. The exponentials are summed in x's dtype, about its
/// largest entry.
at::Tensor log_sum_exp(const at::Tensor& x);

/// Log-sum-exps and targets' logits of the scored tokens of a run. A block's exponentials are summed in
/// float32 (float64 in a run of float64); blocks are added in float64: LSE = log(e^LSE + e^LSE_block).
class TokenScores : public run::LogitBlocks, public run::Observer {
 public:
  /// Of one input. vocabulary: V. `progress` is told of the tokens that have passed the head, if it is there.
  TokenScores(Windows::Scored scored, int64_t vocabulary, run::ProgressObserver* progress = nullptr);

  at::Tensor places(size_t input) const override;
  void on_logits(size_t input, int64_t first, int64_t first_id, const at::Tensor& logits) override;

  bool wants(const run::Site&, size_t) const override { return false; }
  run::ObserverMemory memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                             int64_t chunk_tokens) const override;

  /// Of the blocks so far, of places [first, first + count): float64, a copy.
  at::Tensor log_sum_exp(int64_t first, int64_t count) const { return lse_.narrow(0, first, count).clone(); }
  /// -ln p(token), float64 [n], on the CPU, in the order of the places.
  at::Tensor nll_nats() const;

 private:
  Windows::Scored scored_;
  int64_t vocabulary_;
  run::ProgressObserver* progress_;
  at::Tensor lse_, target_;  // float64 [n]
};

}  // namespace outliers::eval
