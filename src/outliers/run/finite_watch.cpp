#include "outliers/run/finite_watch.h"

#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"

namespace outliers::run {
namespace {

bool all_finite(const at::Tensor& x) {
  // A sum is the quickest look. Only where it is not finite each value is asked: finite ones can overflow it.
  return std::isfinite(x.sum(at::kFloat).item<float>()) || at::isfinite(x).all().item<bool>();
}

}  // namespace

bool FiniteWatch::wants(const Site& site, size_t input) const {
  if (input >= first_sequences_.size()) return false;
  if (site.layer < 0 || (first_ && site.layer > first_->site.layer)) return false;
  switch (site.point) {
    case Point::resid_in:
      return site.layer == 0;  // later it is the resid_out of the layer before
    case Point::attn_out:
    case Point::resid_mid:
    case Point::experts_index:
    case Point::experts_down_in:
    case Point::shared_down_in:
    case Point::down_in:
    case Point::down_out:
    case Point::resid_out:
      return true;
    default:
      return false;
  }
}

void FiniteWatch::on_point(const Site& site, const Slice& slice, const at::Tensor& x) {
  switch (site.point) {
    case Point::experts_index:
      experts_ = x;
      return;
    case Point::experts_down_in:
    case Point::shared_down_in:
    case Point::down_in:
      read_.push_back({site.point, x});
      return;
    case Point::down_out:
      // What is not finite in a product's input is not finite in its output.
      if (!all_finite(x)) {
        for (const Read& read : read_) note({site.layer, read.point}, slice, read.x);
        note(site, slice, x);
      }
      read_.clear();
      experts_ = at::Tensor();
      return;
    default:
      note(site, slice, x);
  }
}

void FiniteWatch::note(const Site& site, const Slice& slice, const at::Tensor& x) {
  if (all_finite(x)) return;
  const at::Tensor values = x.contiguous();
  const int64_t place = at::isfinite(values).logical_not().to(at::kChar).argmax().item<int64_t>();
  const int64_t T = x.size(1), C = x.size(-1),
                routes = x.numel() / (x.size(0) * T * C);  // of experts k, else 1
  const int64_t token = place / C / routes, route = place / C % routes;
  First found{site,
              slice.input,
              first_sequences_[slice.input] + slice.first_sequence + token / T,
              token % T,
              place % C,
              kNoExpert,
              values.flatten()[place].item<float>()};
  if (site.point == Point::experts_down_in)
    found.expert = experts_[token / T][token % T][route].item<int64_t>();
  if (site.point == Point::shared_down_in) found.expert = kSharedExpert;
  if (!first_ || found.order() < first_->order()) first_ = found;
}

void FiniteWatch::merge(Ranks& ranks) {
  ByteWriter mine;
  if (first_) mine.put(*first_);
  for (const std::string& bytes : ranks.gather(mine.bytes())) {
    if (bytes.empty()) continue;
    ByteReader in(bytes);
    const auto theirs = in.get<First>();
    if (!first_ || theirs.order() < first_->order()) first_ = theirs;
  }
}

}  // namespace outliers::run
