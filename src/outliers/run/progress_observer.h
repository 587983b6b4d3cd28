// Shows how far a run is.
#pragma once

#include <string>
#include <vector>

#include "outliers/core/progress.h"
#include "outliers/run/observer.h"

namespace outliers::run {

/// Tokens that have passed all steps, one step of `steps` counted as a part of 1/steps: each layer is one,
/// and the rest is what pass() says.
class ProgressObserver : public Observer {
 public:
  ProgressObserver(const std::string& what, int64_t steps, const std::vector<Input>& inputs, bool shown);
  bool wants(const Site& site, size_t input) const override;
  void on_point(const Site& site, const Slice& slice, const at::Tensor& x) override;
  /// So many tokens, or parts of one, have made a step.
  void pass(double tokens);

 private:
  double steps_, passed_ = 0;
  bool shown_;
  Progress progress_;
};

}  // namespace outliers::run
