// How often each abs x occurred, as exactly as is needed to name the median and to count what lies above a
// threshold. A histogram over bins is always kept. For 16-bit dtypes a bin is one value, so that is all. A
// bin of float32 holds 65,536 values; there the values of a few bins around the median, guessed from a
// sample, are kept as well, so that one look is enough unless the guess was wrong. Then key_counts() of the
// bins that matter decide.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "outliers/core/bytes.h"
#include "outliers/stats/keys.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {

class Magnitudes {
 public:
  /// Room for kept values; where more come, the bins nearest to the median so far are counted key by key
  /// instead.
  static constexpr int64_t kKeptLimit = int64_t{1} << 22;

  explicit Magnitudes(at::ScalarType dtype, int64_t kept_limit = kKeptLimit)
      : wide_(dtype == at::kFloat), dtype_(dtype), kept_limit_(kept_limit) {}

  at::ScalarType dtype() const { return dtype_; }
  /// Bins whose values the next partial must gather.
  BinRange keep() const { return keep_; }
  /// Sets the bins from a sample of the first tensor. Before the first add().
  void guess(const at::Tensor& x);

  /// Takes in a partial that was made with keep().
  void add(const ActivationPartial& partial);
  void merge(const Magnitudes& other);
  /// For another process, which merges what it loads.
  void save(ByteWriter& out) const;
  static Magnitudes load(ByteReader& in);
  /// Takes in what key_counts() gave for some bins, of one tensor.
  void add_counts(const std::vector<int64_t>& bins, const std::vector<std::vector<int64_t>>& counts);

  int64_t count() const { return count_; }
  /// Median of abs x; 0 of nothing; no value where it is not known yet.
  std::optional<double> median() const;
  /// How many abs x are above the threshold (>= 0); no value where it is not known yet.
  std::optional<int64_t> count_above(double threshold) const;
  /// Whether the values of a bin were counted one by one in every tensor.
  bool is_counted(int64_t bin) const;

  /// The bins that hold the two middle values.
  std::vector<int64_t> median_bins() const;
  /// Bins from the one of `low` to the one of `high` that have values.
  std::vector<int64_t> bins_between(double low, double high) const;
  /// Smallest and largest magnitude of a bin.
  double bin_low(int64_t bin) const;
  double bin_high(int64_t bin) const;

 private:
  int64_t bin_of_rank(int64_t rank, int64_t* rank_in_bin) const;
  struct Pair {
    double low, high;
  };
  std::optional<Pair> values_in(int64_t bin, int64_t low, int64_t high) const;
  int64_t bin_of_key(uint32_t key) const { return wide_ ? key >> 16 : key; }
  std::optional<double> find_median() const;
  void narrow(BinRange range);
  void count_kept();
  void limit_kept();

  bool wide_;
  at::ScalarType dtype_;
  int64_t kept_limit_;
  std::vector<int64_t> histogram_ = std::vector<int64_t>(static_cast<size_t>(kBins), 0);
  int64_t count_ = 0, zero_count_ = 0;
  BinRange keep_;
  std::vector<at::Tensor> kept_;  // keys in keep_ but key 0, of all tensors; empty where keep_counted_
  mutable std::optional<double> median_;  // once found; finding it reads all that is kept
  bool keep_counted_ = false;             // the keys of keep_ go to counts_ as they come
  std::map<int64_t, std::vector<int64_t>>
      counts_;  // bin -> [kKeysPerBin]; true once the sum is the histogram's
};

}  // namespace outliers::stats
