#include "outliers/io/derived.h"

#include <ATen/ATen.h>

#include "outliers/core/error.h"

namespace outliers::io {

DerivedCheckpoint::DerivedCheckpoint(std::unique_ptr<Checkpoint> base, std::vector<DerivedTensor> derived,
                                     const std::unordered_set<std::string>& hidden)
    : base_(std::move(base)) {
  path_ = base_->path();
  std::unordered_map<std::string, const DerivedTensor*> first;
  std::unordered_set<std::string> gone = hidden;
  for (DerivedTensor& tensor : derived) {
    for (const std::string& source : tensor.sources) {
      tensor.info.bytes += base_->find(source)->bytes;
      if (!tensor.beside) gone.insert(source);
    }
    if (!tensor.beside) first.emplace(tensor.sources.front(), &tensor);
  }
  std::vector<TensorInfo> shown;
  for (const TensorInfo& info : base_->tensors()) {
    if (const auto found = first.find(info.name); found != first.end()) shown.push_back(found->second->info);
    if (gone.count(info.name) == 0) shown.push_back(info);
  }
  for (const DerivedTensor& tensor : derived) {
    if (tensor.beside) shown.push_back(tensor.info);
  }
  for (DerivedTensor& tensor : derived) derived_.emplace(tensor.info.name, std::move(tensor));
  set_tensors(std::move(shown));
}

void DerivedCheckpoint::prefetch(const std::string& name) const {
  const auto found = derived_.find(name);
  if (found == derived_.end()) return base_->prefetch(name);
  for (const std::string& source : found->second.sources) base_->prefetch(source);
}

void DerivedCheckpoint::release(const std::string& name) const {
  const auto found = derived_.find(name);
  if (found == derived_.end()) return base_->release(name);
  for (const std::string& source : found->second.sources) base_->release(source);
}

std::vector<std::string> DerivedCheckpoint::sources_by_row(const std::string& name) const {
  const auto found = derived_.find(name);
  if (found == derived_.end()) return {name};
  std::vector<std::string> sources = found->second.sources;
  std::erase_if(sources, [&](const std::string& source) {
    const std::vector<int64_t>& shape = base_->find(source)->shape;
    return shape.size() < 2 || shape.front() != found->second.info.shape.front();
  });
  return sources;
}

void DerivedCheckpoint::prefetch_row(const std::string& name, int64_t row) const {
  for (const std::string& source : sources_by_row(name)) base_->prefetch_row(source, row);
}

void DerivedCheckpoint::release_row(const std::string& name, int64_t row) const {
  for (const std::string& source : sources_by_row(name)) base_->release_row(source, row);
}

at::ScalarType DerivedCheckpoint::native_dtype(const std::string& name) const {
  const auto found = derived_.find(name);
  return found == derived_.end() ? base_->native_dtype(name) : found->second.native;
}

const uint8_t* DerivedCheckpoint::data(const TensorInfo& info) const {
  TORCH_INTERNAL_ASSERT(false, "the tensor ", info.name, " is computed and lies in no file");
}

at::Tensor DerivedCheckpoint::decode(const TensorInfo& info, int64_t first, int64_t elements,
                                     at::ScalarType dtype) const {
  if (elements == 0) return at::empty({0}, dtype);
  const bool vector = info.shape.size() < 2;
  const int64_t row = vector ? 1 : info.elements() / info.shape[0];
  const int64_t begin = first / row, end = begin + elements / row;
  const auto found = derived_.find(info.name);
  at::Tensor rows;
  if (found != derived_.end()) {
    rows = found->second.rows(begin, end, dtype == at::kDouble).to(dtype);
  } else {
    rows = vector ? base_->load(info.name, dtype) : base_->load_row_range(info.name, begin, end, dtype);
  }
  return rows.reshape({elements});
}

}  // namespace outliers::io
