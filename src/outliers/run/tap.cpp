#include "outliers/run/tap.h"

#include <fmt/format.h>

namespace outliers::run {

void Tap::add(Observer& observer, size_t input) {
  watch_.time([&] {
    for (const PointInfo& info : point_table()) {
      if (info.per_layer == (layer_ >= 0) && observer.wants({layer_, info.point}, input)) {
        wanted_[static_cast<size_t>(info.point)].push_back({&observer, input});
      }
    }
    if (layer_ >= 0 && observer.wants_attention_sums(layer_, input)) sums_.push_back({&observer, input});
  });
}

std::string Tap::kinds() const {
  std::string text = sums_.empty() ? "" : "sums";
  for (const PointInfo& info : point_table()) {
    if (wants(info.point)) text += fmt::format(" {}", info.name);
    if (edits(info.point)) text += fmt::format(" {}:{}", info.name, edits_->at(info.point).kinds());
  }
  return text;
}

at::Tensor Tap::pass(Point point, const Slice& slice, at::Tensor x, const at::Tensor& experts) const {
  if (edits(point)) x = edits_->at(point).apply(slice, std::move(x), experts);
  show(point, slice, x);
  return x;
}

void Tap::show(Point point, const Slice& slice, const at::Tensor& x) const {
  if (!wants(point) || x.is_meta()) return;
  watch_.time([&] {
    for (const Listener& listener : wanted_[static_cast<size_t>(point)])
      listener.observer->on_point({layer_, point}, {listener.input, slice.first_sequence}, x);
  });
}

void Tap::show_attention_sums(const Slice& slice, const ops::AttentionSums& sums) const {
  if (sums_.empty() || sums.key_sums.is_meta()) return;
  watch_.time([&] {
    for (const Listener& listener : sums_)
      listener.observer->on_attention_sums(layer_, {listener.input, slice.first_sequence}, sums);
  });
}

}  // namespace outliers::run
