#include "outliers/run/tap.h"

namespace outliers::run {

Tap::Tap(const std::vector<Observer*>& observers, int64_t layer, size_t input, Stopwatch& watch)
    : layer_(layer), watch_(watch) {
  watch_.time([&] {
    for (Observer* observer : observers) {
      for (const PointInfo& info : point_table()) {
        if (info.per_layer == (layer >= 0) && observer->wants({layer, info.point}, input)) {
          wanted_[static_cast<size_t>(info.point)].push_back(observer);
        }
      }
      if (layer >= 0 && observer->wants_attention_sums(layer, input)) sums_.push_back(observer);
    }
  });
}

void Tap::show(Point point, const Slice& slice, const at::Tensor& x) const {
  if (!wants(point)) return;
  watch_.time([&] {
    for (Observer* observer : wanted_[static_cast<size_t>(point)])
      observer->on_point({layer_, point}, slice, x);
  });
}

void Tap::show_attention_sums(const Slice& slice, const ops::AttentionSums& sums) const {
  if (sums_.empty()) return;
  watch_.time([&] {
    for (Observer* observer : sums_) observer->on_attention_sums(layer_, slice, sums);
  });
}

}  // namespace outliers::run
