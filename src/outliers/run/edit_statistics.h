// What an edit takes from a whole input: thresholds, the largest entries, means and medians (docs/edits.md).
#pragma once

#include <memory>
#include <vector>

#include "outliers/core/ranks.h"
#include "outliers/run/edit_entries.h"
#include "outliers/run/input.h"
#include "outliers/run/site_tensors.h"

namespace outliers::run {

/// Of one edit of a point.
class EditStatistics {
 public:
  /// `before`: the point in the whole input, without the edit. Where ranks share the input out, all of them
  /// come here together.
  /// experts: E.
  EditStatistics(const Edit& edit, const Input& input, std::shared_ptr<const SiteTensors> before,
                 int64_t experts, Ranks* ranks, at::Device device);

  /// Which entries of the slice the criteria select: bool, to be broadcast; undefined: all.
  at::Tensor criteria(const Slice& slice) const;
  /// With random=: which entries are drawn, in place of all that the selection says; undefined without.
  at::Tensor drawn(const Slice& slice) const;
  /// What a mean or a median is, [1,...] to be broadcast, float64; NaN where nothing finite is selected.
  const at::Tensor& average() const { return average_; }

 private:
  struct Entry {
    double size;  // abs x
    int64_t sequence, place;
  };

  EntryPlace place_of(size_t chunk) const;
  at::Tensor selected(size_t chunk, const at::Tensor& x) const;
  at::Tensor thresholds(const at::Tensor& x) const;
  void measure();
  void find_top();
  void add_top(const at::Tensor& x, const at::Tensor& mask, int64_t first_sequence);
  void find_mean();
  void find_median();
  std::vector<int64_t> averaged_dimensions() const;

  const Edit& edit_;
  const Input& input_;
  std::shared_ptr<const SiteTensors> before_;
  Ranks* ranks_;  // only where the input is shared out
  at::Device device_;
  int64_t experts_;
  int64_t part_begin_;
  double massive_ = 0, outlier_ = 0;  // thresholds
  std::vector<Entry> top_;
  at::Tensor average_;
};

/// The edits of one site of an input, in their order.
class SiteEdits {
 public:
  /// The edits and the input outlive it; experts: E.
  SiteEdits(std::vector<const Edit*> edits, const Input& input, Site site, int64_t experts);
  bool needs_statistics() const;
  /// Operations and what selects their entries: what makes the memory that they take differ.
  std::string kinds() const;
  /// Before apply(), where it needs them. All edits take theirs from what arrives at the site.
  void take(std::shared_ptr<const SiteTensors> before, Ranks* ranks, at::Device device);
  /// x [b,...] of the slice; experts: experts.index of points by expert. Gives x itself where nothing is
  /// done. Of a tensor without data, what has that of an edited one's memory.
  at::Tensor apply(const Slice& slice, at::Tensor x, const at::Tensor& experts) const;

 private:
  at::Tensor noise(const Edit& edit, const Slice& slice, const at::Tensor& x) const;
  at::Tensor rehearsed(at::Tensor x) const;

  std::vector<const Edit*> edits_;
  const Input& input_;
  Site site_;
  int64_t experts_;
  std::vector<std::shared_ptr<const EditStatistics>> statistics_;  // nullptr where an edit needs none
};

}  // namespace outliers::run
