// What a point was in one whole input, kept until the edits that depend on all of it are made.
#pragma once

#include <vector>

#include "outliers/core/spill.h"
#include "outliers/run/observer.h"

namespace outliers::run {

class SiteTensors : public Observer {
 public:
  /// Of an input's unedited pass. `spill`: where they wait, nullptr for memory.
  SiteTensors(Site site, size_t input, Spill* spill) : site_(site), input_(input), spill_(spill) {}

  Site site() const { return site_; }
  bool wants(const Site& site, size_t input) const override;
  void on_point(const Site& site, const Slice& slice, const at::Tensor& x) override;

  /// Chunks in the order of sequences, split as the branch's are.
  size_t size() const { return first_sequences_.size(); }
  int64_t first_sequence(size_t chunk) const { return first_sequences_[chunk]; }
  /// The chunk that begins with a sequence.
  size_t chunk_of(int64_t first_sequence) const;
  at::Tensor tensor(size_t chunk, at::Device device) const;
  /// Of a point of experts: which ones they are, [b,T,k]; else undefined.
  at::Tensor experts(size_t chunk) const;

 private:
  Site site_;
  size_t input_;
  Spill* spill_;
  std::vector<int64_t> first_sequences_;
  std::vector<at::Tensor> tensors_;  // where they are in memory
  std::vector<size_t> numbers_;      // else in the spill
  std::vector<at::Tensor> experts_;
};

/// Whether the point's entries belong to the experts that experts.index names.
bool is_by_expert(Point point);

}  // namespace outliers::run
