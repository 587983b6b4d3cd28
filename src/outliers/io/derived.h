// A checkpoint of which some tensors are computed from another's when they are loaded: dequantised weights,
// weights with an adapter merged in. All other tensors are the other's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// One computed tensor. TensorInfo::encoding says how it is stored, in words; `bytes` is filled in.
struct DerivedTensor {
  TensorInfo info;
  std::vector<std::string> sources;    ///< the tensors of the base that it is computed from
  at::ScalarType native = at::kFloat;  ///< what Checkpoint::native_dtype says of it
  bool beside = false;                 ///< stands after all others, and its sources stay
  /// Rows [begin, end) along dimension 0 (of a vector: all its elements), in float32, or in float64 where
  /// that is asked for and makes a difference.
  std::function<at::Tensor(int64_t begin, int64_t end, bool as_double)> rows;
};

class DerivedCheckpoint : public Checkpoint {
 public:
  /// Each derived tensor (but those that stand beside) takes the place of its first source; the sources, and
  /// the tensors in `hidden`, are no longer shown unless a derived tensor has their name.
  DerivedCheckpoint(std::unique_ptr<Checkpoint> base, std::vector<DerivedTensor> derived,
                    const std::unordered_set<std::string>& hidden = {});

  Format format() const override { return base_->format(); }
  void prefetch(const std::string& name) const override;
  void release(const std::string& name) const override;
  void prefetch_row(const std::string& name, int64_t row) const override;
  void release_row(const std::string& name, int64_t row) const override;
  const GgufMetadata* metadata() const override { return base_->metadata(); }
  at::ScalarType native_dtype(const std::string& name) const override;
  uint64_t bytes_read() const override { return base_->bytes_read(); }

 protected:
  const uint8_t* data(const TensorInfo& info) const override;
  at::Tensor decode(const TensorInfo& info, int64_t first, int64_t elements,
                    at::ScalarType dtype) const override;

 private:
  /// The tensors of the base whose row of that number is this one's.
  std::vector<std::string> sources_by_row(const std::string& name) const;

  std::unique_ptr<Checkpoint> base_;
  std::unordered_map<std::string, DerivedTensor> derived_;
};

}  // namespace outliers::io
