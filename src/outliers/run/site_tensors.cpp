#include "outliers/run/site_tensors.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace outliers::run {

bool is_by_expert(Point point) {
  return point >= Point::experts_weight && point <= Point::experts_down_out;
}

bool SiteTensors::wants(const Site& site, size_t input) const {
  if (input != input_ || site.layer != site_.layer) return false;
  return site.point == site_.point || (site.point == Point::experts_index && is_by_expert(site_.point));
}

void SiteTensors::on_point(const Site& site, const Slice& slice, const at::Tensor& x) {
  if (site.point != site_.point) {
    experts_.push_back(x);
    return;
  }
  first_sequences_.push_back(slice.first_sequence);
  if (spill_ == nullptr) {
    tensors_.push_back(x);
  } else {
    numbers_.push_back(spill_->add(x));
  }
}

size_t SiteTensors::chunk_of(int64_t first_sequence) const {
  const auto found = std::find(first_sequences_.begin(), first_sequences_.end(), first_sequence);
  TORCH_INTERNAL_ASSERT(found != first_sequences_.end(), "a branch is split otherwise than its parent");
  return static_cast<size_t>(found - first_sequences_.begin());
}

at::Tensor SiteTensors::tensor(size_t chunk, at::Device device) const {
  return spill_ == nullptr ? tensors_[chunk] : spill_->get(numbers_[chunk]).to(device);
}

at::Tensor SiteTensors::experts(size_t chunk) const {
  return experts_.empty() ? at::Tensor() : experts_[chunk];
}

}  // namespace outliers::run
