#include "outliers/run/progress_observer.h"

namespace outliers::run {
namespace {

/// A branch has its parent's.
int64_t tokens_of(const std::vector<Input>& inputs) {
  int64_t tokens = 0;
  for (const Input& input : inputs) tokens += (input.parent ? inputs[*input.parent] : input).ids.numel();
  return tokens;
}

}  // namespace

ProgressObserver::ProgressObserver(const std::string& what, int64_t steps, const std::vector<Input>& inputs,
                                   bool shown)
    : steps_(static_cast<double>(steps)),
      shown_(shown && Progress::watched()),
      progress_(what, tokens_of(inputs), "tokens") {}

bool ProgressObserver::wants(const Site& site, size_t) const {
  return site.point == Point::resid_out && shown_;
}

void ProgressObserver::on_point(const Site&, const Slice&, const at::Tensor& x) {
  pass(static_cast<double>(x.size(0) * x.size(1)));
}

void ProgressObserver::pass(double tokens) {
  passed_ += tokens;
  if (shown_) progress_.update(passed_ / steps_);
}

}  // namespace outliers::run
